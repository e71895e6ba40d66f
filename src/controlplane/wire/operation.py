"""Operation between the domain and the canonical API."""

from __future__ import annotations

from gpuplane.v1 import operation_pb2 as pb

from controlplane.domain.operation import (
    Attempt,
    Operation,
    OperationKind,
    OperationState,
    Outcome,
    Step,
)
from controlplane.wire.common import money, number, timestamp
from controlplane.wire.offer import skipped_message

_KINDS = {kind: number(pb.OperationKind, "OPERATION_KIND", kind) for kind in OperationKind}
_STATES = {state: number(pb.OperationState, "OPERATION_STATE", state) for state in OperationState}
_STATES_BACK = {value: state for state, value in _STATES.items()}
_OUTCOMES = {outcome: number(pb.AttemptOutcome, "ATTEMPT_OUTCOME", outcome) for outcome in Outcome}


def operation_state_of(value: int) -> OperationState | None:
    """The state of an enum number; None for unspecified and unknown ones."""
    return _STATES_BACK.get(value)


def _step(row: Step) -> pb.OperationStep:
    message = pb.OperationStep(name=row.name, start_time=timestamp(row.started_at))
    if row.ended_at is not None:
        message.end_time.CopyFrom(timestamp(row.ended_at))
    return message


def _attempt(row: Attempt) -> pb.Attempt:
    message = pb.Attempt(
        number=row.number,
        offer_id=row.offer_id,
        provider=row.provider,
        price_per_hour=money(row.price_nano_per_hour, row.currency),
        outcome=_OUTCOMES[row.outcome],
        message=row.message,
        start_time=timestamp(row.started_at),
        retry_of=row.retry_of,
    )
    if row.ended_at is not None:
        message.end_time.CopyFrom(timestamp(row.ended_at))
    return message


def operation_message(row: Operation) -> pb.Operation:
    """The canonical message of a row; depends on nothing but the row."""
    message = pb.Operation(
        id=row.id,
        kind=_KINDS[row.kind],
        state=_STATES[row.state],
        instance_id=row.instance_id,
        account_id=row.account_id,
        create_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
        steps=[_step(s) for s in row.steps],
        attempts=[_attempt(a) for a in row.attempts],
        cancel_requested=row.cancel_requested,
        request_id=row.request_id,
        revision=row.revision,
        skipped=map(skipped_message, row.skipped),
    )
    if row.done_at is not None:
        message.done_time.CopyFrom(timestamp(row.done_at))
    if row.failure is not None:
        message.error.CopyFrom(
            pb.OperationError(code=row.failure.code, reason=row.failure.reason, message=row.failure.message)
        )
    return message
