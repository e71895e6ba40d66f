"""gpuplane.v1.Operations."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, cast

from gpuplane.v1 import operation_pb2
from gpuplane.v1 import operation_service_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.canonical.shapes import Plane, found, joined
from controlplane.domain.errors import invalid
from controlplane.domain.operation import Operation
from controlplane.ports.store import OperationQuery
from controlplane.usecases import operations, watch
from controlplane.usecases.pages import read_page
from controlplane.wire.operation import operation_message, operation_state_of

DEFAULT_WAIT_S, MAX_WAIT_S = 30.0, 300.0
MARGIN_S = 0.2  # before the caller's deadline, so that the answer still arrives


class Operations:
    """Shows, waits for and cancels slow work."""

    service = "gpuplane.v1.Operations"

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._core = plane.core

    async def get_operation(self, request: pb.GetOperationRequest, call: Call) -> bytes:
        body = await self._core.store.message(call.principal.scope, Operation, request.id)
        return found(body, "operation", request.id)

    async def list_operations(self, request: pb.ListOperationsRequest, call: Call) -> bytes:
        core, caller = self._core, call.principal
        state = operation_state_of(request.state)
        if state is None and request.state != operation_pb2.OPERATION_STATE_UNSPECIFIED:
            raise invalid("state", "must be a state of an operation", request.state)
        query = OperationQuery(request.instance_id, state)

        async def fetch(before_id: str, limit: int) -> list[tuple[str, bytes]]:
            return await core.store.messages(caller.scope, query, before_id, limit)

        key = ("operations", caller.account_id, query)
        page = await read_page(self._plane.tokens, key, request.page_size, request.page_token, None, fetch)
        rest = pb.ListOperationsResponse(next_page_token=page.next_page_token)
        return joined(pb.ListOperationsResponse.OPERATIONS_FIELD_NUMBER, page.items, rest)

    async def wait_operation(self, request: pb.WaitOperationRequest, call: Call) -> bytes:
        timeout_s = DEFAULT_WAIT_S
        if request.HasField("timeout"):
            timeout_s = request.timeout.seconds + request.timeout.nanos / 1e9
            if not 0 <= timeout_s <= MAX_WAIT_S:
                raise invalid("timeout", f"must be from 0s to {MAX_WAIT_S:g}s", f"{timeout_s:g}s")
        left = call.time_remaining()
        if left is not None:
            timeout_s = min(timeout_s, max(0.0, left - MARGIN_S))
        return await watch.wait_operation(self._plane.hub, self._core.store, call.principal, request.id, timeout_s)

    async def cancel_operation(self, request: pb.CancelOperationRequest, call: Call) -> Any:
        return operation_message(await operations.cancel(self._core, call.principal, request.id))

    def watch_operation(self, request: pb.WatchOperationRequest, call: Call) -> AsyncGenerator[bytes, None]:
        stream = watch.watch_operation(self._plane.hub, self._core.store, call.principal, request.id)
        return cast("AsyncGenerator[bytes, None]", stream)
