"""gpuplane.dialects.gpuai.v1.Instances: machines and the operations on them."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

from gpuplane.dialects.gpuai.v1 import instances_pb2 as pb
from gpuplane.v1 import instance_pb2, operation_pb2

from controlplane.api.call import Call
from controlplane.api.dialects.gpuai.hardware import CPU, gpu_types, place_of, tier_of
from controlplane.api.dialects.gpuai.idempotency import request_key
from controlplane.api.dialects.gpuai.translate import instance_shown, limit_of, next_cursor, operation_shown
from controlplane.api.plane import Plane
from controlplane.domain.errors import NotFound, invalid, not_found
from controlplane.domain.instance import Instance
from controlplane.domain.money import nano
from controlplane.domain.operation import Operation
from controlplane.domain.requirements import Requirements
from controlplane.domain.state import TERMINAL
from controlplane.ports.store import InstanceQuery
from controlplane.usecases import instances
from controlplane.usecases.idempotency import FirstAnswers
from controlplane.usecases.pages import read_page
from controlplane.usecases.wishes import CreateInstance
from controlplane.wire.instance import instance_message
from controlplane.wire.operation import operation_message

_MAX_GPUS = 8
_MAX_PRICE = 1_000_000_000


class Instances:
    """Rents, shows, renames and returns machines."""

    service = "gpuplane.dialects.gpuai.v1.Instances"

    def __init__(self, plane: Plane, answers: FirstAnswers) -> None:
        self._plane = plane
        self._core = plane.core
        self._answers = answers

    async def create_instance(self, request: pb.CreateInstanceRequest, call: Call) -> bytes:
        key = request_key(request, call)

        async def make() -> bytes:
            made = await instances.create(self._core, call.principal, self._wish(request), key)
            return _serialized(made)

        return _accepted(call, await self._answers.once(call.principal, key, make, self._again(call)))

    def _wish(self, request: pb.CreateInstanceRequest) -> CreateInstance:
        if not request.gpu_type:
            raise invalid("gpu_type", "is required", "")
        types = gpu_types(request.gpu_type, self._core.offers)
        most = 1 if types == (CPU,) else _MAX_GPUS
        if not 1 <= request.gpu_count <= most:
            rule = f"must be from 1 to {_MAX_GPUS}, and 1 for {CPU}"
            raise invalid("gpu_count", rule, request.gpu_count)
        region, providers = place_of(request.region, self._core.providers) if request.HasField("region") else (None, ())
        return CreateInstance(
            requirements=Requirements(
                gpu_types=types,
                gpu_count=0 if types == (CPU,) else request.gpu_count,  # a machine without GPU has none, not one
                tier=tier_of(request.tier),
                regions=(region,) if region is not None else (),
                providers=providers,
            ),
            max_price_nano_per_hour=(
                _price_cap(request.max_price_per_hour) if request.HasField("max_price_per_hour") else None
            ),
            name=request.name,
            ssh_key_ids=tuple(request.ssh_key_ids),
        )

    async def list_instances(self, request: pb.ListInstancesRequest, call: Call) -> pb.InstancePage:
        size = limit_of(request.limit if request.HasField("limit") else None)
        store, caller = self._core.store, call.principal

        async def fetch(before_id: str, limit: int) -> list[tuple[str, bytes]]:
            return await store.messages(caller.scope, InstanceQuery(), before_id, limit)

        query = ("gpuai instances", caller.account_id)
        page = await read_page(self._plane.tokens, query, size, request.cursor, None, fetch)
        return pb.InstancePage(data=map(_instance, page.items), next_cursor=next_cursor(page.next_page_token))

    async def get_instance(self, request: pb.GetInstanceRequest, call: Call) -> pb.Instance:
        body = await self._core.store.message(call.principal.scope, Instance, request.id)
        if body is None:
            raise not_found("instance", request.id)
        return _instance(body)

    async def update_instance(self, request: pb.UpdateInstanceRequest, call: Call) -> bytes:
        key = request_key(request, call)

        async def make() -> bytes:
            name = request.changes.name if request.changes.HasField("name") else None
            row = await instances.update(
                self._core, call.principal, request.id, name=name, labels={}, remove_labels=(), request=key
            )
            return instance_shown(instance_message(row)).SerializeToString()

        return await self._answers.once(call.principal, key, make)

    async def delete_instance(self, request: pb.DeleteInstanceRequest, call: Call) -> bytes:
        """404 once it has ended (the seed's rule D-07); a repeat before that meets the same operation."""
        key = request_key(request, call)

        async def make() -> bytes:
            row = await instances.instance_of(self._core, call.principal, request.id)
            if row.state in TERMINAL:
                raise NotFound(f"instance {row.id} has ended already", resource="instance", id=row.id)
            ending = await instances.terminate(self._core, call.principal, request.id, force=False, request=key)
            return _serialized(ending)

        return _accepted(call, await self._answers.once(call.principal, key, make, self._again(call)))

    def _again(self, call: Call) -> Callable[[str], Awaitable[bytes]]:
        """The answer of a request whose operation is there already: offers and states have moved on since."""

        async def shown(operation_id: str) -> bytes:
            return _serialized(await instances.operation_of(self._core, call.principal, operation_id))

        return shown

    async def get_operation(self, request: pb.GetOperationRequest, call: Call) -> pb.Operation:
        body = await self._core.store.message(call.principal.scope, Operation, request.id)
        shown = operation_shown(operation_pb2.Operation.FromString(body)) if body is not None else None
        if shown is None:
            raise not_found("operation", request.id)
        return shown


def _instance(body: bytes) -> pb.Instance:
    return instance_shown(instance_pb2.Instance.FromString(body))


def _serialized(row: Operation) -> bytes:
    shown: Any = operation_shown(operation_message(row))
    body: bytes = shown.SerializeToString()
    return body


def _accepted(call: Call, answer: bytes) -> bytes:
    """202, with the operation's id in a header too (seed 003: `Operation-Id`)."""
    call.set_http_status(202)
    call.set_http_header("operation-id", pb.Operation.FromString(answer).operation_id)
    return answer


def _price_cap(price: float) -> int:
    if not (math.isfinite(price) and 0 <= price <= _MAX_PRICE):
        raise invalid("max_price_per_hour", f"must be from 0 to {_MAX_PRICE}", price)
    return nano(str(price))
