"""Canonical messages in this API's words (seed 003, schemas Instance, Operation and pages)."""

from __future__ import annotations

from google.protobuf.struct_pb2 import NULL_VALUE, Value
from google.protobuf.timestamp_pb2 import Timestamp
from gpuplane.dialects.gpuai.v1 import instances_pb2 as pb
from gpuplane.v1 import instance_pb2, operation_pb2

from controlplane.api.dialects.gpuai.errors import OPERATION_FAILED
from controlplane.api.dialects.gpuai.hardware import gpu_count, gpu_word, region_word
from controlplane.api.dialects.shared import rfc3339
from controlplane.domain.errors import invalid
from controlplane.domain.money import NANO
from controlplane.domain.offer import Tier
from controlplane.domain.operation import OperationKind, OperationState
from controlplane.domain.state import State
from controlplane.wire.common import micros
from controlplane.wire.instance import TIERS, state_of
from controlplane.wire.operation import operation_state_of

STATES = {
    State.ACCEPTED: "creating",
    State.ALLOCATING: "provisioning",
    State.STARTING: "booting",
    State.RUNNING: "running",
    State.STOPPING: "stopping",
    State.STOPPED: "stopped",
    State.TERMINATED: "terminated",
    State.FAILED: "error",
}

OPERATION_STATES = {
    OperationState.PENDING: "pending",
    OperationState.RUNNING: "in_progress",
    OperationState.SUCCEEDED: "succeeded",
    OperationState.FAILED: "failed",
    OperationState.CANCELLED: "cancelled",
}

KINDS = {
    OperationKind.CREATE_INSTANCE: "instance.create",
    OperationKind.TERMINATE_INSTANCE: "instance.delete",
}
"""The seed knows no other kinds: operations of others do not exist here."""

_KINDS = {operation_pb2.OperationKind.Value(f"OPERATION_KIND_{kind}"): word for kind, word in KINDS.items()}
_TIERS = {number: word for word, number in TIERS.items() if word}

DEFAULT_LIMIT, MAX_LIMIT = 50, 200


def instance_shown(message: instance_pb2.Instance) -> pb.Instance:
    """An instance; what is null in the seed is absent."""
    state = state_of(message.state)
    assert state is not None, f"{message.id} has no state"
    price = message.price_per_hour
    shown = pb.Instance(
        id=message.id,
        status=STATES[state],
        name=message.name or None,
        gpu_type=gpu_word(message.gpu_type),
        gpu_count=gpu_count(message.gpu_count),
        region=region_word(message.region, message.provider),
        tier=_TIERS.get(message.tier, Tier.ON_DEMAND.value),
        price_per_hour=(price.units * NANO + price.nanos) / NANO,
        created_at=time_shown(message.create_time),
    )
    if message.connection.ssh_host:
        connection = message.connection
        shown.connection.hostname = connection.ssh_host
        shown.connection.port = connection.ssh_port
        shown.connection.ssh_command = connection.ssh_command
    if message.HasField("run_time"):
        shown.ready_at = time_shown(message.run_time)
    if message.HasField("end_time"):
        shown.terminated_at = time_shown(message.end_time)
    return shown


def operation_shown(message: operation_pb2.Operation) -> pb.Operation | None:
    """An operation; None for one of a kind that the seed does not know."""
    state = operation_state_of(message.state)
    if message.kind not in _KINDS or state is None:
        return None
    shown = pb.Operation(
        operation_id=message.id,
        kind=_KINDS[message.kind],
        state=OPERATION_STATES[state],
        resource_id=message.instance_id,
        created_at=time_shown(message.create_time),
        updated_at=time_shown(message.update_time),
    )
    if message.HasField("done_time"):
        shown.completed_at = time_shown(message.done_time)
    if message.HasField("error"):
        shown.error.code = OPERATION_FAILED
        shown.error.detail = message.error.message
    return shown


def time_shown(at: Timestamp) -> str:
    """A time in RFC 3339."""
    return rfc3339(micros(at))


def limit_of(given: int | None) -> int:
    """The page size asked for (seed 003, LimitParam): outside its range it is refused, not clamped."""
    if given is None:
        return DEFAULT_LIMIT
    if not 1 <= given <= MAX_LIMIT:
        raise invalid("limit", f"must be from 1 to {MAX_LIMIT}", given)
    return given


def next_cursor(token: str) -> Value:
    """The cursor of the next page: null on the last."""
    return Value(string_value=token) if token else Value(null_value=NULL_VALUE)
