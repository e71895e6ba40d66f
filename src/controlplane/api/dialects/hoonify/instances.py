"""gpuplane.dialects.hoonify.v1.Instances: machines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gpuplane.dialects.hoonify.v1 import instances_pb2 as pb
from gpuplane.v1 import instance_pb2

from controlplane.api.call import Call
from controlplane.api.dialects.hoonify import catalog
from controlplane.api.dialects.hoonify.keys import is_test_key
from controlplane.api.dialects.hoonify.translate import (
    DRAINING,
    HOUR_S,
    IDEMPOTENCY,
    MAX_HOURS,
    MAX_LIMIT,
    TERMINATED,
    billing_of,
    check_after,
    free_for,
    image_asked,
    instance_shown,
    limit_of,
    seconds_of,
    states_of,
)
from controlplane.api.dialects.shared import request_key
from controlplane.api.plane import Plane, currency_of
from controlplane.domain.errors import invalid, not_found
from controlplane.domain.instance import Instance
from controlplane.ports.store import InstanceQuery
from controlplane.usecases import instances
from controlplane.usecases.idempotency import FirstAnswers, RequestKey
from controlplane.usecases.machine_secrets import jupyter_token
from controlplane.usecases.wishes import CreateInstance
from controlplane.wire.instance import JUPYTER, instance_message

_WRITE = "instances:write"


class Instances:
    """Rents, shows, extends and returns machines."""

    service = "gpuplane.dialects.hoonify.v1.Instances"

    def __init__(self, plane: Plane, answers: FirstAnswers) -> None:
        self._core = plane.core
        self._answers = answers
        self._minimum_s: int = plane.options["hoonify_minimum"]
        self._nearest: str = plane.options["hoonify_nearest"]

    async def create_instance(self, request: pb.CreateInstanceRequest, call: Call) -> bytes:
        request.pool = request.pool or str(call.metadata.get("x-hoonify-pool", ""))
        key = request_key(request, call, IDEMPOTENCY)
        if is_test_key(call):  # or it would be answered with what a live key made under the same name
            key = replace(key, method=f"{key.method}:test")

        async def make() -> bytes:
            wish = await self._wish(request, call)
            made = await instances.create(self._core, call.principal, wish, key)
            return await self._serialized(call, made.instance_id)

        async def again(operation_id: str) -> bytes:
            made = await instances.operation_of(self._core, call.principal, operation_id)
            return await self._serialized(call, made.instance_id)

        answer = await self._answers.once(call.principal, key, make, again)
        call.set_http_status(201)
        return answer

    async def _wish(self, request: pb.CreateInstanceRequest, call: Call) -> CreateInstance:
        offers, test = self._core.offers, is_test_key(call)
        gpu_type = catalog.gpu_type_of(request.sku, offers)
        wanted = catalog.requirements(
            gpu_type,
            catalog.check_gpus(request.gpus, request.sku, gpu_type, offers),
            pool=request.pool,
            widen=_widens(call),
            nearest=self._nearest,
            simulated=True if test else None,
        )
        reserved_s = seconds_of(request.duration_hours) if request.HasField("duration_hours") else None
        longest_s = self._core.policy.max_duration_s
        if reserved_s is not None:
            longest_s = min(longest_s, MAX_HOURS * HOUR_S)
            if reserved_s > longest_s:
                raise invalid("duration_hours", f"must be at most {longest_s / HOUR_S:g}", request.duration_hours)
        currency = await currency_of(self._core, call.principal)
        catalog.check_capacity(request.sku, request.gpus, wanted, offers.matching(wanted, currency))
        return CreateInstance(
            requirements=wanted,
            labels=dict(request.labels),
            ssh_public_keys=tuple(request.ssh_keys),
            image=image_asked(request.image),
            mode=JUPYTER,
            reservation_s=reserved_s,
            max_duration_s=longest_s,
            billing=free_for(longest_s) if test else billing_of(reserved_s, self._minimum_s),
        )

    async def list_instances(self, request: pb.ListInstancesRequest, call: Call) -> pb.InstanceList:
        limit = limit_of(request.limit if request.HasField("limit") else None)
        query, after = InstanceQuery(states=states_of(request.status)), check_after(request.after)
        found = await self._page(call, query, after, limit + 1)
        data = [self._instance(call, message) for message in found[:limit]]
        return pb.InstanceList(object="list", data=data, has_more=len(found) > limit)

    async def get_instance(self, request: pb.GetInstanceRequest, call: Call) -> pb.Instance:
        return await self._shown(call, request.id)

    async def terminate_instance(self, request: pb.TerminateInstanceRequest, call: Call) -> Any:
        await self._confine(call, request.id)
        key = RequestKey(call.method.label)  # it is idempotent without being named
        await instances.terminate(self._core, call.principal, request.id, force=request.force, request=key)
        row = await instances.instance_of(self._core, call.principal, request.id)
        shown = instance_shown(instance_message(row))
        if row.live and shown.status != TERMINATED:
            shown.status = DRAINING  # "stop requested" (seed 002), though the loop may take a moment to begin
            shown.ClearField("endpoints")
        return shown

    async def extend_instance(self, request: pb.ExtendInstanceRequest, call: Call) -> bytes:
        await self._confine(call, request.id)
        key = request_key(request, call, IDEMPOTENCY)

        async def make() -> bytes:
            if not request.HasField("duration_hours"):
                raise invalid("duration_hours", "is required", "")
            seconds = seconds_of(request.duration_hours)
            await instances.extend(self._core, call.principal, request.id, seconds, key)
            return await self._serialized(call, request.id)

        return await self._answers.once(call.principal, key, make)

    async def _serialized(self, call: Call, id: str) -> bytes:
        shown: Any = await self._shown(call, id)
        body: bytes = shown.SerializeToString()
        return body

    async def _shown(self, call: Call, id: str) -> pb.Instance:
        return self._instance(call, await self._message(call, id))

    async def _confine(self, call: Call, id: str) -> None:
        """Refuse a test key what is no pretended hardware."""
        if is_test_key(call):
            await self._message(call, id)

    async def _message(self, call: Call, id: str) -> instance_pb2.Instance:
        body = await self._core.store.message(call.principal.scope, Instance, id)
        message = instance_pb2.Instance.FromString(body or b"")
        if body is None or not _visible(call, message):
            raise not_found("instance", id)
        return message

    async def _page(self, call: Call, query: InstanceQuery, after: str, wanted: int) -> list[instance_pb2.Instance]:
        """The next instances that the caller may see, as many as are wanted or there are."""
        size = MAX_LIMIT if is_test_key(call) else wanted  # those in between are searched, not shown
        found: list[instance_pb2.Instance] = []
        while True:
            rows = await self._core.store.messages(call.principal.scope, query, after, size)
            messages = (instance_pb2.Instance.FromString(body) for _, body in rows)
            found += (message for message in messages if _visible(call, message))
            if len(rows) < size or len(found) >= wanted:
                return found[:wanted]
            after = rows[-1][0]

    def _instance(self, call: Call, message: instance_pb2.Instance) -> pb.Instance:
        shown = instance_shown(message)
        # The token opens the machine, which a key that may only read must not.
        if shown.endpoints.HasField("jupyter") and _WRITE in call.principal.scopes:
            shown.endpoints.jupyter.token = jupyter_token(self._core.secrets, shown.id)
        return shown


def _visible(call: Call, message: instance_pb2.Instance) -> bool:
    """Whether it exists for the caller: test keys know pretended hardware only."""
    return message.simulated or not is_test_key(call)


def _widens(call: Call) -> bool:
    """Whether a pool without capacity may be left (the vendor's page on pools: strict by default)."""
    word = str(call.metadata.get("x-hoonify-pool-fallback", "strict"))
    if word not in ("strict", "nearest"):
        raise invalid("X-Hoonify-Pool-Fallback", "must be strict or nearest", word)
    return word == "nearest"
