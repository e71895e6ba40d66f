"""The asyncio client: the same helpers, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from gpuplane.v1.instance_pb2 import Instance
from gpuplane.v1.instance_service_pb2 import ListInstancesRequest, WatchInstanceRequest, WatchInstancesRequest
from gpuplane.v1.operation_pb2 import Operation
from gpuplane.v1.operation_service_pb2 import WatchOperationRequest
from gpuplane.v1.watch_pb2 import InstanceEvent
from tenacity import AsyncRetrying

from gpuplane_client.channel import AsyncChannel, open_channel
from gpuplane_client.config import discover
from gpuplane_client.errors import ApiError
from gpuplane_client.paging import items_of, next_page, next_token
from gpuplane_client.retry import Interrupted, outage_policy
from gpuplane_client.services import Services
from gpuplane_client.waiting import Waiting
from gpuplane_client.watch import (
    Cursor,
    Finished,
    InstanceCursor,
    OperationCursor,
    Relist,
    after_error,
    snapshot,
)


class AsyncClient(Services):
    """One connection to one server with one key, for one event loop. `Client` says what each helper does."""

    def __init__(
        self,
        endpoint: str,
        key: str = "",
        *,
        retry_for: float = 10.0,
        outage: float = 300.0,
        channel: Any = None,
    ) -> None:
        self._channel = channel or open_channel(endpoint, grpc.aio)
        self._outage = outage
        super().__init__(AsyncChannel(self._channel, key, retry_for))

    @classmethod
    def from_environment(cls, **options: Any) -> AsyncClient:
        config = discover()
        return cls(config.endpoint, config.key, **options)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._channel.close()

    async def wait(
        self,
        operation: Operation | str,
        *,
        timeout: float | None = None,
        on_progress: Callable[[Operation], object] | None = None,
    ) -> Operation:
        waiting = Waiting(operation, timeout, on_progress is not None, self._outage)
        while True:
            try:
                current: Operation = await AsyncRetrying(**waiting.policy())(
                    self.operations.WaitOperation, waiting.request(), timeout=waiting.call_deadline
                )
            except ApiError as error:
                raise waiting.unanswered(error) from None
            if on_progress:
                on_progress(current)
            if waiting.settle(current):
                return current

    async def watch_instances(
        self, resume_token: str = "", *, snapshot: bool = True, bookmarks: bool = False
    ) -> AsyncIterator[InstanceEvent]:
        cursor = InstanceCursor(resume_token, bookmarks)
        if snapshot and not resume_token:
            for event in await self._relist(cursor, active_only=True):
                yield event
        while True:
            try:
                async for event in self._follow(
                    lambda: self.instances.WatchInstances(WatchInstancesRequest(resume_token=cursor.token)),
                    cursor,
                ):
                    yield event
                return
            except Relist:
                for event in await self._relist(cursor, active_only=False):
                    yield event

    async def watch_instance(
        self, id: str, resume_token: str = "", *, bookmarks: bool = False
    ) -> AsyncIterator[InstanceEvent]:
        cursor = InstanceCursor(resume_token, bookmarks)
        while True:
            try:
                async for event in self._follow(
                    lambda: self.instances.WatchInstance(WatchInstanceRequest(id=id, resume_token=cursor.token)),
                    cursor,
                ):
                    yield event
                return
            except Relist:
                cursor.token = ""

    async def watch_operation(self, id: str) -> AsyncIterator[Operation]:
        request = WatchOperationRequest(id=id)
        async for event in self._follow(lambda: self.operations.WatchOperation(request), OperationCursor()):
            yield event.operation

    async def list_all(
        self, method: Callable[..., Any], request: Message, *, limit: int | None = None
    ) -> AsyncIterator[Any]:
        count = 0
        while True:
            answer = await method(request)
            for item in items_of(answer):
                if count == limit:
                    return
                count += 1
                yield item
            if not next_token(answer) or count == limit:
                return
            request = next_page(request, next_token(answer))

    async def _relist(self, cursor: InstanceCursor, *, active_only: bool) -> list[InstanceEvent]:
        retrying = AsyncRetrying(**outage_policy(self._outage))
        instances: list[Instance] = []
        request = ListInstancesRequest(page_size=1000, active_only=active_only)
        while True:
            page: Any = await retrying(self.instances.ListInstances, request)
            instances += page.instances
            if not page.next_page_token:
                break
            request = next_page(request, page.next_page_token)
        cursor.token = page.resume_token
        return snapshot(instances, page.resume_token)

    async def _follow(self, begin: Callable[[], AsyncIterator[Any]], cursor: Cursor) -> AsyncIterator[Any]:
        retrying = AsyncRetrying(**outage_policy(self._outage))
        stream: AsyncIterator[Any] | None = None

        event: Any
        wanted: bool

        async def pull() -> tuple[Any, bool]:
            nonlocal stream
            stream = stream or begin()
            try:
                event = await anext(stream)
                return event, cursor.take(event)
            except BaseException as error:
                stream = None
                if isinstance(error, StopAsyncIteration):
                    raise Interrupted("the stream stopped without saying why") from None
                raise

        try:
            while True:
                event, wanted = await retrying(pull)
                if wanted:
                    yield event
        except Finished:
            return
        except ApiError as error:
            raise after_error(error) from None
