"""How instances end: the reasons, and what their operations say about it."""

from __future__ import annotations

from controlplane.domain.operation import Failure, OperationState
from controlplane.domain.records import replace
from controlplane.domain.state import TERMINAL, State
from controlplane.reconcile.posting import post
from controlplane.reconcile.tenure import Rows
from controlplane.usecases.core import Policy

# google.rpc.Code numbers that operations may end with (gpuplane.v1.OperationError.code).
CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, UNAVAILABLE = 1, 4, 8, 9, 14


def fail(
    rows: Rows, policy: Policy, code: int, reason: str, message: str, *, gone: bool = False, gone_at: int | None = None
) -> None:
    """End against the wish. What is left at the provider is still returned, unless it is known to be gone; since
    `gone_at`, or since now where nobody knows."""
    row = rows.instance.to(State.FAILED, rows.now, reason, message)
    if gone and row.label:
        row = replace(row, gone_at=rows.now if gone_at is None else min(gone_at, rows.now))
    rows.instance = row
    if rows.create is not None:
        rows.create = rows.create.finish(OperationState.FAILED, rows.now, Failure(code, reason, message))
    if rows.terminate is not None and rows.instance.settled:
        rows.terminate = rows.terminate.finish(OperationState.SUCCEEDED, rows.now)
    post(rows, policy)


def terminated(rows: Rows, policy: Policy, gone_at: int | None = None, *, billed: bool = True) -> None:
    """End as wished: the provider confirmed that nothing is left since `gone_at` (or nothing was ever made). Not
    `billed`: it has ended for the caller, and its work goes on until the provider's bill for it is known."""
    row = rows.instance
    if row.state not in TERMINAL:
        row = row.to(State.TERMINATED, rows.now, row.stop_reason, row.stop_message)
    gone_at = rows.now if gone_at is None else min(gone_at, rows.now)
    if billed and row.label:
        row = replace(row, gone_at=gone_at)
    if row != rows.instance:
        rows.instance = replace(row, updated_at=rows.now)
    if rows.create is not None and not rows.create.done:
        reason = "CANCELLED" if row.stop_reason == "TERMINATED_BY_CALLER" else row.stop_reason
        rows.create = rows.create.finish(
            OperationState.CANCELLED, rows.now, Failure(CANCELLED, reason, row.stop_message)
        )
    if rows.terminate is not None:
        rows.terminate = rows.terminate.finish(OperationState.SUCCEEDED, rows.now)
    post(rows, policy)


def stopping(rows: Rows) -> None:
    """Begin to return the machine."""
    row = rows.instance
    rows.instance = row.to(State.STOPPING, rows.now, row.stop_reason, row.stop_message)
    if rows.create is not None:
        rows.create = rows.create.enter("stop", rows.now)
