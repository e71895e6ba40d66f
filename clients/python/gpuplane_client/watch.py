"""What both clients know about streams, without any I/O: tokens, ends, snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import grpc
from gpuplane.v1.instance_pb2 import Instance
from gpuplane.v1.operation_service_pb2 import OperationEvent
from gpuplane.v1.watch_pb2 import (
    INSTANCE_EVENT_TYPE_BOOKMARK,
    INSTANCE_EVENT_TYPE_SNAPSHOT,
    STREAM_END_REASON_DONE,
    STREAM_END_REASON_KEY_REVOKED,
    STREAM_END_REASON_RESYNC,
    InstanceEvent,
    StreamEnd,
)

from gpuplane_client.errors import ApiError
from gpuplane_client.retry import Interrupted


class Finished(Exception):
    """What was watched is final."""


class Relist(Exception):
    """The resume point is lost: read the present state and go on from there."""


class Cursor(Protocol):
    """How far a caller has read one kind of stream."""

    def take(self, event: Any) -> bool:
        """Remember the event; tells whether the caller is to see it. Raises when the stream is over."""


class InstanceCursor:
    """Reads on behind the last resume token."""

    def __init__(self, token: str, bookmarks: bool) -> None:
        self.token = token
        self._bookmarks = bookmarks

    def take(self, event: InstanceEvent) -> bool:
        if event.resume_token:
            self.token = event.resume_token
        if event.HasField("end"):
            raise after_end(event.end)
        return self._bookmarks or event.type != INSTANCE_EVENT_TYPE_BOOKMARK


class OperationCursor:
    """Every new stream begins with the operation as it is; its revision tells whether that is news."""

    def __init__(self) -> None:
        self._revision = -1

    def take(self, event: OperationEvent) -> bool:
        if event.HasField("end"):
            raise after_end(event.end)
        if not event.HasField("operation") or event.operation.revision <= self._revision:
            return False
        self._revision = event.operation.revision
        return True


def after_end(end: StreamEnd) -> Exception:
    """What the last message of a stream asks for. A reason we do not know is mended by a new stream."""
    if end.reason == STREAM_END_REASON_DONE:
        return Finished()
    if end.reason == STREAM_END_REASON_RESYNC:
        return Relist()
    if end.reason == STREAM_END_REASON_KEY_REVOKED:
        return ApiError(grpc.StatusCode.UNAUTHENTICATED, end.message, reason="KEY_INVALID")
    return Interrupted(end.message)


def after_error(error: ApiError) -> Exception:
    """A token older than the retained window is mended by reading the present; the rest is the caller's."""
    return Relist() if error.code is grpc.StatusCode.OUT_OF_RANGE else error


def snapshot(instances: Sequence[Instance], token: str) -> list[InstanceEvent]:
    """A list as events. Only the last has the token: one kept from an earlier event would skip the rest."""
    events = [InstanceEvent(type=INSTANCE_EVENT_TYPE_SNAPSHOT, instance=instance) for instance in instances]
    if events:
        events[-1].resume_token = token
    return events
