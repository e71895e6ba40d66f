"""What must hold after any history (DESIGN section 11). Each check returns the sentences of what is broken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise

from gpuplane.v1 import instance_pb2, operation_service_pb2, watch_pb2

from controlplane.adapters.store.memory import MemoryDisk
from controlplane.domain.billing import charge, cost
from controlplane.domain.budget import Budget
from controlplane.domain.events import EventKind
from controlplane.domain.instance import Instance
from controlplane.domain.ledger import LedgerEntry, LedgerKind
from controlplane.domain.operation import Operation, OperationKind, OperationState, Outcome
from controlplane.domain.state import TRANSITIONS, State
from controlplane.domain.work import WorkItem
from controlplane.wire.common import micros
from controlplane.wire.instance import state_of
from tests.simulation.world import Market

Check = Callable[[MemoryDisk, list[Market], list[str]], Iterable[str]]


def no_lost_operation(disk: MemoryDisk, markets: list[Market], accepted: list[str]) -> Iterable[str]:
    """Every operation that a caller was given exists and has ended; with its instance."""
    for id in accepted:
        operation = disk.table(Operation).get(id)
        if operation is None:
            yield f"operation {id} was accepted and is gone"
        elif not operation.done:
            yield f"operation {id} ({operation.kind}) never ended"
    for row in disk.table(Instance).values():
        if not row.settled:
            yield f"instance {row.id} is not settled: {row.state}"
        if row.id in disk.table(WorkItem):
            yield f"instance {row.id} is settled and still has work"


def no_double_machine(disk: MemoryDisk, markets: list[Market], accepted: list[str]) -> Iterable[str]:
    """No label was asked for twice; no two machines of one instance were ever kept at the same time."""
    for market in markets:
        seen: set[str] = set()
        for label in market.launches:
            if label in seen:
                yield f"{label} was launched twice"
            seen.add(label)
        # A worker frozen between its intent and its call may act late: no check on its side can close that gap
        # (reference/engine.md section 2), the sweep does. Without freezes it must never happen.
        if not market.froze:
            yield from (f"{label} was made while its instance had another machine" for label in market.doubles)
    for row in disk.table(Instance).values():
        operation = disk.table(Operation).get(row.create_operation_id)
        outcomes = [attempt.outcome for attempt in operation.attempts] if operation else []
        if outcomes.count(Outcome.CREATED) > 1 or outcomes.count(Outcome.NOT_READY) > 1 + row.wish.max_retries:
            yield f"instance {row.id} was created too often: {outcomes}"


def no_untracked_machine(disk: MemoryDisk, markets: list[Market], accepted: list[str]) -> Iterable[str]:
    """After everything came to rest and the sweeps ran, no machine is left."""
    for market in markets:
        for machine in market.alive:
            yield f"{market.name} still bills {machine.id} ({machine.label})"


def events_tell_all(disk: MemoryDisk, markets: list[Market], accepted: list[str]) -> Iterable[str]:
    """Numbered without gap; revisions of a subject grow by one; states move along the table; the last is the row."""
    numbers = [event.seq for event in disk.events]
    if numbers != list(range(1, len(numbers) + 1)):
        yield "event numbers have gaps"
    last: dict[str, instance_pb2.Instance] = {}
    revisions: dict[str, int] = defaultdict(int)
    for event in disk.events:
        if event.kind is EventKind.BUDGET:
            continue
        if event.kind is EventKind.INSTANCE:
            message = watch_pb2.InstanceEvent.FromString(event.body).instance
            yield from _moved(last.get(message.id), message)
            last[message.id] = message
            revision = message.revision
        else:
            revision = operation_service_pb2.OperationEvent.FromString(event.body).operation.revision
        if revision != revisions[event.subject_id] + 1:
            yield f"{event.subject_id} went from revision {revisions[event.subject_id]} to {revision}"
        revisions[event.subject_id] = revision
    for id, row in disk.table(Instance).items():
        if id not in last or state_of(last[id].state) is not row.state:
            yield f"instance {id} is {row.state}, its last event says otherwise"


def _moved(before: instance_pb2.Instance | None, after: instance_pb2.Instance) -> Iterable[str]:
    new = state_of(after.state)
    old = state_of(before.state) if before is not None else None
    if old is not None and new is not None and new is not old and new not in TRANSITIONS[old]:
        yield f"instance {after.id} went from {old} to {new}"


def ledgers_equal_events(disk: MemoryDisk, markets: list[Market], accepted: list[str]) -> Iterable[str]:
    """Both ledgers equal the policy replayed over the events; charges tile; budgets hold nothing at rest."""
    charges: dict[str, list[LedgerEntry]] = defaultdict(list)
    costs: dict[tuple[str, int], list[LedgerEntry]] = defaultdict(list)
    for entry in disk.table(LedgerEntry).values():
        if entry.kind is LedgerKind.CHARGE:
            charges[entry.instance_id].append(entry)
        else:
            costs[entry.instance_id, entry.attempt].append(entry)
    final: dict[str, instance_pb2.Instance] = {}
    for event in disk.events:
        if event.kind is EventKind.INSTANCE:
            message = watch_pb2.InstanceEvent.FromString(event.body).instance
            final[message.id] = message
    for id, message in final.items():
        row = disk.table(Instance)[id]
        run_at = micros(message.run_time) if message.HasField("run_time") else None
        end_at = micros(message.end_time) if message.HasField("end_time") else 0
        owed = charge(row.billing, row.price_nano_per_hour, run_at, end_at, row.kept) if run_at is not None else 0
        posted = sum(entry.amount_nano for entry in charges[id])
        if owed != posted:
            yield f"instance {id} owes {owed} by its events and was charged {posted}"
        yield from _tiles(id, charges[id])
        if row.machine_at is not None and row.gone_at is not None:
            until = row.gone_at
            owed = row.meter.total(until) if row.meter else cost(row.price_nano_per_hour, row.machine_at, until)
            posted = sum(entry.amount_nano for entry in costs[id, row.attempt])
            if owed != posted:
                yield f"instance {id} cost {owed} by its events and {posted} by the ledger"
    for key, entries in costs.items():
        yield from _tiles(str(key), entries)
    for budget in disk.table(Budget).values():
        if budget.held_nano:
            yield f"budget {budget.id} holds {budget.held_nano} for nothing"


def _tiles(what: str, entries: list[LedgerEntry]) -> Iterable[str]:
    ordered = sorted(entries, key=lambda entry: (entry.start_at, entry.end_at))
    for one, next_one in pairwise(ordered):
        if one.end_at != next_one.start_at:
            yield f"{what}: ledger entries leave a gap or overlap at {one.end_at}"


def costs_follow_the_market(disk: MemoryDisk, markets: list[Market], accepted: list[str]) -> Iterable[str]:
    """A tracked machine costs at least what the marketplace billed, less the time before we learned of it."""
    gone = {m.label: m for market in markets for m in market.machines.values()}
    for row in disk.table(Instance).values():
        machine = gone.get(row.label)
        if machine is None or row.gone_at is None or machine.gone_at is None or row.machine_id != machine.id:
            continue
        if row.gone_at < machine.gone_at:
            yield f"instance {row.id} was called gone before its machine was"


def outcomes_agree(disk: MemoryDisk, markets: list[Market], accepted: list[str]) -> Iterable[str]:
    """What an operation says is what happened."""
    for operation in disk.table(Operation).values():
        row = disk.table(Instance)[operation.instance_id]
        if operation.kind is OperationKind.CREATE_INSTANCE:
            if (operation.state is OperationState.SUCCEEDED) != (row.run_at is not None):
                yield f"operation {operation.id} is {operation.state}, but its instance ran at {row.run_at}"
        elif operation.state is not OperationState.SUCCEEDED:
            yield f"terminate {operation.id} ended as {operation.state}"
        if row.state is State.TERMINATED and row.label and row.gone_at is None:
            yield f"instance {row.id} is TERMINATED and its machine may not be gone"


INVARIANTS: tuple[Check, ...] = (
    no_lost_operation,
    no_double_machine,
    no_untracked_machine,
    events_tell_all,
    ledgers_equal_events,
    costs_follow_the_market,
    outcomes_agree,
)
