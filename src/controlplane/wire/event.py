"""Watch messages, as bytes: an event is serialized once, and a token is appended per scope.

Protobuf lets a serialized message be extended by appending fields, so `body + token_suffix(...)` is a valid
InstanceEvent without parsing or copying the instance inside.
"""

from __future__ import annotations

from functools import lru_cache

from gpuplane.v1 import watch_pb2 as pb
from gpuplane.v1.operation_service_pb2 import OperationEvent

from controlplane.domain.budget import Budget
from controlplane.domain.state import State
from controlplane.wire.common import money, number, timestamp
from controlplane.wire.instance import state_number


def instance_event(instance: bytes, event_id: str, at: int, previous: State | None) -> bytes:
    """The body of an instance's event, around the stored message."""
    event = pb.InstanceEvent(
        type=pb.INSTANCE_EVENT_TYPE_CREATED if previous is None else pb.INSTANCE_EVENT_TYPE_CHANGED,
        event_id=event_id,
        previous_state=None if previous is None else state_number(previous),
        event_time=timestamp(at),
    ).SerializeToString()
    return event + nested(pb.InstanceEvent.INSTANCE_FIELD_NUMBER, instance)


def operation_event(operation: bytes, at: int) -> bytes:
    """The body of an operation's event, around the stored message."""
    event = OperationEvent(event_time=timestamp(at)).SerializeToString()
    return event + nested(OperationEvent.OPERATION_FIELD_NUMBER, operation)


def budget_event(row: Budget, event_id: str, at: int) -> bytes:
    """The body of a budget alert."""
    return pb.InstanceEvent(
        type=pb.INSTANCE_EVENT_TYPE_BUDGET_ALERT,
        event_id=event_id,
        event_time=timestamp(at),
        budget_alert=pb.BudgetAlert(
            budget_id=row.id,
            threshold_percent=row.crossed_percent,
            spent=money(row.spent_nano, row.currency),
            limit=money(row.limit_nano, row.currency),
        ),
    ).SerializeToString()


def suffix(token: str, *, coalesced: bool = False) -> bytes:
    """What is appended to a stored InstanceEvent body."""
    return pb.InstanceEvent(resume_token=token, coalesced=coalesced).SerializeToString()


coalesced_operation = OperationEvent(coalesced=True).SerializeToString()
operation_bookmark = OperationEvent().SerializeToString()


def snapshot(instance: bytes, token: str) -> bytes:
    """The first message of a stream without resume token, around a stored instance."""
    event = pb.InstanceEvent(type=pb.INSTANCE_EVENT_TYPE_SNAPSHOT, resume_token=token).SerializeToString()
    return event + nested(pb.InstanceEvent.INSTANCE_FIELD_NUMBER, instance)


def operation_snapshot(operation: bytes) -> bytes:
    """The first message of a WatchOperation stream, around a stored operation."""
    return nested(OperationEvent.OPERATION_FIELD_NUMBER, operation)


def bookmark(token: str) -> bytes:
    """A sign of life that moves the resume point."""
    return pb.InstanceEvent(type=pb.INSTANCE_EVENT_TYPE_BOOKMARK, resume_token=token).SerializeToString()


def end(reason: str, message: str, token: str) -> bytes:
    """The last message of an instance stream. `reason` is a StreamEndReason without its prefix."""
    return pb.InstanceEvent(
        type=pb.INSTANCE_EVENT_TYPE_END, resume_token=token, end=_stream_end(reason, message)
    ).SerializeToString()


def operation_end(reason: str, message: str) -> bytes:
    """The last message of an operation stream."""
    return OperationEvent(end=_stream_end(reason, message)).SerializeToString()


def _stream_end(reason: str, message: str) -> pb.StreamEnd:
    return pb.StreamEnd(reason=number(pb.StreamEndReason, "STREAM_END_REASON", reason), message=message)


def nested(field_number: int, body: bytes) -> bytes:
    """A serialized length-delimited field around serialized bytes: how pages are joined from stored messages."""
    return nesting(field_number, len(body)) + body


@lru_cache(4096)
def nesting(field_number: int, size: int) -> bytes:
    """What stands before so many bytes to make them a field."""
    prefix = bytearray([field_number << 3 | 2])
    while size > 0x7F:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    prefix.append(size)
    return bytes(prefix)
