"""gpuplane.v1.Instances."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, cast

from gpuplane.v1 import instance_pb2
from gpuplane.v1 import instance_service_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.canonical import machines, wishes
from controlplane.api.canonical.shapes import Plane, found, joined, request_key
from controlplane.domain.errors import invalid
from controlplane.domain.instance import Instance
from controlplane.domain.state import State
from controlplane.ports.store import InstanceQuery
from controlplane.usecases import instances, validation, watch
from controlplane.usecases.pages import read_page
from controlplane.wire.instance import instance_message, state_of
from controlplane.wire.operation import operation_message


class Instances:
    """Rents, shows, watches and returns machines."""

    service = "gpuplane.v1.Instances"

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._core = plane.core

    async def create_instance(self, request: pb.CreateInstanceRequest, call: Call) -> Any:
        wish = await wishes.wish_of(self._core, request, call)
        made = await instances.create(self._core, call.principal, wish, request_key(request, call))
        return operation_message(made)

    async def batch_create_instances(self, request: pb.BatchCreateInstancesRequest, call: Call) -> Any:
        return await wishes.create_batch(self._plane, request, call)

    async def reserve_instances(self, request: pb.ReserveInstancesRequest, call: Call) -> Any:
        return await wishes.reserve(self._plane, request, call)

    async def get_instance(self, request: pb.GetInstanceRequest, call: Call) -> bytes:
        body = await self._core.store.message(call.principal.scope, Instance, request.id)
        return found(body, "instance", request.id)

    async def list_instances(self, request: pb.ListInstancesRequest, call: Call) -> bytes:
        core, caller, tokens = self._core, call.principal, self._plane.tokens
        query = _query(request)
        # Sorted, because the order of a set differs between processes and the token must not.
        key = ("instances", caller.account_id, sorted(query.states), query.provider, query.labels, query.live_only)

        async def resume_token() -> str:
            # What the hub has handed out lies at or before what the page will show: nothing can fall between.
            return tokens.resume(caller.account_id, self._plane.hub.position)

        async def fetch(before_id: str, limit: int) -> list[tuple[str, bytes]]:
            return await core.store.messages(caller.scope, query, before_id, limit)

        page = await read_page(tokens, key, request.page_size, request.page_token, resume_token, fetch)
        rest = pb.ListInstancesResponse(next_page_token=page.next_page_token, resume_token=page.extra)
        return joined(pb.ListInstancesResponse.INSTANCES_FIELD_NUMBER, page.items, rest)

    async def update_instance(self, request: pb.UpdateInstanceRequest, call: Call) -> Any:
        validation.check_count("remove_labels", request.remove_labels, 64)
        row = await instances.update(
            self._core,
            call.principal,
            request.id,
            name=request.name if request.HasField("name") else None,
            labels=dict(request.labels),
            remove_labels=tuple(request.remove_labels),
            request=request_key(request, call),
        )
        return instance_message(row)

    async def terminate_instance(self, request: pb.TerminateInstanceRequest, call: Call) -> Any:
        key = request_key(request, call)
        ending = await instances.terminate(self._core, call.principal, request.id, force=request.force, request=key)
        return operation_message(ending)

    async def extend_instance(self, request: pb.ExtendInstanceRequest, call: Call) -> Any:
        seconds = wishes.seconds(self._core, request, "duration")
        if seconds is None:
            raise invalid("duration", "is required", "")
        row = await instances.extend(self._core, call.principal, request.id, seconds, request_key(request, call))
        return instance_message(row)

    # The streams are handed on as they are, not wrapped: the pipeline closes them, and with them their subscription.

    def watch_instance(self, request: pb.WatchInstanceRequest, call: Call) -> AsyncGenerator[bytes, None]:
        stream = watch.watch_instance(
            self._plane.hub, self._core.store, call.principal, request.id, request.resume_token
        )
        return cast("AsyncGenerator[bytes, None]", stream)

    def watch_instances(self, request: pb.WatchInstancesRequest, call: Call) -> AsyncGenerator[bytes, None]:
        stream = watch.watch_instances(self._plane.hub, call.principal, request.resume_token)
        return cast("AsyncGenerator[bytes, None]", stream)

    async def get_connection(self, request: pb.GetConnectionRequest, call: Call) -> instance_pb2.Connection:
        row = await instances.instance_of(self._core, call.principal, request.id)
        return machines.connection(self._core, row)

    async def get_diagnostics(self, request: pb.GetDiagnosticsRequest, call: Call) -> pb.Diagnostics:
        row = await instances.instance_of(self._core, call.principal, request.id)
        return await machines.diagnostics(self._core, row)

    async def get_instance_logs(self, request: pb.GetInstanceLogsRequest, call: Call) -> pb.InstanceLogs:
        if not 0 <= request.tail <= 10_000:
            raise invalid("tail", "must be from 1 to 10000, or 0 for 100", request.tail)
        row = await instances.instance_of(self._core, call.principal, request.id)
        return pb.InstanceLogs(text=await machines.logs(self._core, row, request.tail or 100))


def _query(request: pb.ListInstancesRequest) -> InstanceQuery:
    validation.check_count("states", request.states, len(State))
    states = set()
    for index, number in enumerate(request.states):
        state = state_of(number)
        if state is None:
            raise invalid(f"states[{index}]", "must be a state of an instance", number)
        states.add(state)
    return InstanceQuery(
        states=frozenset(states),
        provider=request.provider,
        labels=_labels(request.label_selector),
        live_only=request.active_only,
    )


def _labels(selector: str) -> tuple[tuple[str, str | None], ...]:
    """`key=value` or `key`, several joined by commas."""
    if not selector:
        return ()
    terms = selector.split(",")
    validation.check_count("label_selector", terms, 16)
    parsed: list[tuple[str, str | None]] = []
    for term in terms:
        key, equals, value = term.strip().partition("=")
        if not key:
            raise invalid("label_selector", "must be `key=value` or `key`, several joined by commas", selector)
        parsed.append((key, value if equals else None))
    return tuple(parsed)
