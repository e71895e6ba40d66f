"""The synchronous client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from gpuplane.v1.instance_pb2 import Instance
from gpuplane.v1.instance_service_pb2 import ListInstancesRequest, WatchInstanceRequest, WatchInstancesRequest
from gpuplane.v1.operation_pb2 import Operation
from gpuplane.v1.operation_service_pb2 import WatchOperationRequest
from gpuplane.v1.watch_pb2 import InstanceEvent
from tenacity import Retrying

from gpuplane_client.channel import SyncChannel, open_channel
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


class Client(Services):
    """One connection to one server with one key. Safe to share between threads; close it, or use `with`.

    `instances`, `offers`, `operations`, `keys`, `usage`, `budgets`, `webhooks`, `provider_credentials`, `accounts`,
    `strays` and `system` are the generated stubs. `retry_for` bounds the retries of one call; `outage` is how long
    wait and watch bear an unreachable server.
    """

    def __init__(
        self,
        endpoint: str,
        key: str = "",
        *,
        retry_for: float = 10.0,
        outage: float = 300.0,
        channel: Any = None,
    ) -> None:
        self._channel = channel or open_channel(endpoint, grpc)
        self._outage = outage
        super().__init__(SyncChannel(self._channel, key, retry_for))

    @classmethod
    def from_environment(cls, state: str | Path | None = None, **options: Any) -> Client:
        """The server and key that GPUPLANE_ENDPOINT, GPUPLANE_KEY and the state folder name."""
        config = discover(state)
        return cls(config.endpoint, config.key, **options)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back; running calls end."""
        self._channel.close()

    def wait(
        self,
        operation: Operation | str,
        *,
        timeout: float | None = None,
        on_progress: Callable[[Operation], object] | None = None,
    ) -> Operation:
        """Return the operation once it succeeded; raise OperationFailed or, after `timeout` seconds,
        TimeoutError.

        `on_progress` is called with the operation about once a second. A server that restarts meanwhile
        costs time, nothing else.
        """
        waiting = Waiting(operation, timeout, on_progress is not None, self._outage)
        while True:
            try:
                current: Operation = Retrying(**waiting.policy())(
                    self.operations.WaitOperation, waiting.request(), timeout=waiting.call_deadline
                )
            except ApiError as error:
                raise waiting.unanswered(error) from None
            if on_progress:
                on_progress(current)
            if waiting.settle(current):
                return current

    def watch_instances(
        self, resume_token: str = "", *, snapshot: bool = True, bookmarks: bool = False
    ) -> Iterator[InstanceEvent]:
        """Every change of the account's instances, for ever, over restarts and cut connections, none missed.

        Without a token it begins with a SNAPSHOT of each instance that has not ended (unless `snapshot=False`).
        When the server no longer knows the resume point, fresh SNAPSHOTs follow, of ended instances too: they may
        have ended meanwhile. Keep the `resume_token` of the last event to go on later.
        """
        cursor = InstanceCursor(resume_token, bookmarks)
        if snapshot and not resume_token:
            yield from self._relist(cursor, active_only=True)
        while True:
            try:
                yield from self._follow(
                    lambda: self.instances.WatchInstances(WatchInstancesRequest(resume_token=cursor.token)),
                    cursor,
                )
                return
            except Relist:
                yield from self._relist(cursor, active_only=False)

    def watch_instance(self, id: str, resume_token: str = "", *, bookmarks: bool = False) -> Iterator[InstanceEvent]:
        """One instance, from a SNAPSHOT (or the token) on, until it has ended and its machine is gone."""
        cursor = InstanceCursor(resume_token, bookmarks)
        while True:
            try:
                yield from self._follow(
                    lambda: self.instances.WatchInstance(WatchInstanceRequest(id=id, resume_token=cursor.token)),
                    cursor,
                )
                return
            except Relist:
                cursor.token = ""  # a stream without a token begins with a snapshot

    def watch_operation(self, id: str) -> Iterator[Operation]:
        """The operation as it is and after every change, until it is done."""
        cursor = OperationCursor()
        for event in self._follow(lambda: self.operations.WatchOperation(WatchOperationRequest(id=id)), cursor):
            yield event.operation

    def list_all(self, method: Callable[..., Any], request: Message, *, limit: int | None = None) -> Iterator[Any]:
        """Every item of a List method over all its pages, at most `limit`."""
        count = 0
        while True:
            answer = method(request)
            for item in items_of(answer):
                if count == limit:
                    return
                count += 1
                yield item
            if not next_token(answer) or count == limit:
                return
            request = next_page(request, next_token(answer))

    def _relist(self, cursor: InstanceCursor, *, active_only: bool) -> Iterator[InstanceEvent]:
        retrying = Retrying(**outage_policy(self._outage))
        instances: list[Instance] = []
        request = ListInstancesRequest(page_size=1000, active_only=active_only)
        while True:
            page = retrying(self.instances.ListInstances, request)
            instances += page.instances
            if not page.next_page_token:
                break
            request = next_page(request, page.next_page_token)
        cursor.token = page.resume_token
        yield from snapshot(instances, page.resume_token)

    def _follow(self, begin: Callable[[], Iterator[Any]], cursor: Cursor) -> Iterator[Any]:
        """One stream after another. Each message gets the whole outage allowance anew."""
        retrying = Retrying(**outage_policy(self._outage))
        stream: Iterator[Any] | None = None

        def pull() -> tuple[Any, bool]:
            nonlocal stream
            stream = stream or begin()
            try:
                event = next(stream)
                return event, cursor.take(event)
            except BaseException as error:
                stream = None
                if isinstance(error, StopIteration):
                    raise Interrupted("the stream stopped without saying why") from None
                raise

        try:
            while True:
                event, wanted = retrying(pull)
                if wanted:
                    yield event
        except Finished:
            return
        except ApiError as error:
            raise after_error(error) from None
