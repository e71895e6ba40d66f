"""Deciding a batch of units of work over loaded rows: the part that every store shares.

Pure and synchronous: a store loads what the units ask for, calls `decide`, and writes `Changes` in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controlplane.domain import ids as id_forms
from controlplane.domain.budget import THRESHOLDS, Budget
from controlplane.domain.events import Event, EventKind
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation
from controlplane.domain.principal import Scope
from controlplane.domain.records import replace
from controlplane.domain.work import WorkItem
from controlplane.ports.ids import Ids
from controlplane.ports.store import CountLive, Due, Get, LiveInstances, Load, Record, UnitOfWork, Where
from controlplane.wire.event import budget_event, instance_event, operation_event
from controlplane.wire.instance import instance_message
from controlplane.wire.operation import operation_message

MESSAGE_VERSION = 1
"""Raised with every change of the canonical messages' shape; stored messages of another version are rebuilt."""

Key = tuple[type[Any], str]


def build_message(row: Record) -> bytes | None:
    """The serialized canonical message that is stored beside a row, for the tables that have one."""
    if isinstance(row, Instance):
        return instance_message(row).SerializeToString(deterministic=True)
    if isinstance(row, Operation):
        return operation_message(row).SerializeToString(deterministic=True)
    return None


@dataclass(slots=True)
class Loaded:
    """What a store found for a batch: rows by key, stored messages, counts, and the due items' ids by load."""

    rows: dict[Key, Record] = field(default_factory=dict)
    messages: dict[Key, bytes] = field(default_factory=dict)
    live_counts: dict[str, int] = field(default_factory=dict)
    due: dict[Due, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Changes:
    """What one commit writes."""

    puts: dict[Key, Record] = field(default_factory=dict)
    deletes: set[Key] = field(default_factory=set)
    messages: dict[Key, bytes] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Nothing to write."""
        return not (self.puts or self.deletes or self.events)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one unit: a value or the refusal it raised."""

    value: Any = None
    error: BaseException | None = None


def all_loads(units: Iterable[UnitOfWork[Any]]) -> list[Load]:
    """Every load of a batch once, in a stable order (PostgreSQL locks rows in it)."""
    return list(dict.fromkeys(load for unit in units for load in unit.loads))


def decide(
    units: Sequence[UnitOfWork[Any]], loaded: Loaded, now: int, ids: Ids, next_seq: Callable[[], int]
) -> tuple[Changes, list[Outcome]]:
    """Run the decisions in order, each over the rows as its predecessors left them."""
    batch = _Batch(loaded, now, ids, next_seq)
    outcomes = []
    for unit in units:
        transaction = _Transaction(batch, unit)
        try:
            value = unit.decide(transaction)
        except Exception as error:
            outcomes.append(Outcome(error=error))
            continue
        batch.merge(transaction)
        if isinstance(value, Instance | Operation) and transaction.writes.get((type(value), value.id)) is value:
            value = batch.by_table[type(value)][value.id]
        outcomes.append(Outcome(value))
    return batch.changes, outcomes


class _Batch:
    """The rows of a batch as they are after the units decided so far."""

    def __init__(self, loaded: Loaded, now: int, ids: Ids, next_seq: Callable[[], int]) -> None:
        self.loaded = loaded
        self.now = now
        self.ids = ids
        self.next_seq = next_seq
        self.changes = Changes()
        self.by_table: dict[type[Any], dict[str, Record]] = {}
        for (table, id), row in loaded.rows.items():
            self.by_table.setdefault(table, {})[id] = row

    def merge(self, transaction: _Transaction) -> None:
        for key, row in transaction.writes.items():
            table, id = key
            if row is None:
                self.by_table.get(table, {}).pop(id, None)
                self.changes.puts.pop(key, None)
                self.changes.messages.pop(key, None)
                self.changes.deletes.add(key)
            else:
                self._put(key, row)

    def _put(self, key: Key, row: Record) -> None:
        old = self.by_table.get(key[0], {}).get(key[1])
        if isinstance(row, Instance):
            row = self._instance(key, old if isinstance(old, Instance) else None, row)
        elif isinstance(row, Operation):
            row = self._operation(key, old if isinstance(old, Operation) else None, row)
        elif isinstance(row, Budget):
            self._budget(old if isinstance(old, Budget) else None, row)
        self.by_table.setdefault(key[0], {})[key[1]] = row
        self.changes.puts[key] = row
        self.changes.deletes.discard(key)

    def _instance(self, key: Key, old: Instance | None, row: Instance) -> Instance:
        revision = old.revision if old else 0
        message = instance_message(row)
        message.revision = revision
        if old is not None:
            self._count(old, row)
            if message.SerializeToString(deterministic=True) == self._message(key, old):
                return row if row.revision == revision else replace(row, revision=revision)
        elif row.live:
            self.loaded.live_counts[row.account_id] = self.loaded.live_counts.get(row.account_id, 0) + 1
        message.revision = revision + 1
        stored = self.changes.messages[key] = message.SerializeToString(deterministic=True)
        event_id = self._event_id()
        body = instance_event(stored, event_id, row.updated_at, old.state if old else None)
        self._event(EventKind.INSTANCE, event_id, row.account_id, row.id, body, revision + 1, final=row.settled)
        return replace(row, revision=revision + 1)

    def _operation(self, key: Key, old: Operation | None, row: Operation) -> Operation:
        revision = old.revision if old else 0
        message = operation_message(row)
        message.revision = revision
        if old is not None and message.SerializeToString(deterministic=True) == self._message(key, old):
            return row if row.revision == revision else replace(row, revision=revision)
        message.revision = revision + 1
        stored = self.changes.messages[key] = message.SerializeToString(deterministic=True)
        body = operation_event(stored, row.updated_at)
        self._event(EventKind.OPERATION, self._event_id(), row.account_id, row.id, body, revision + 1, final=row.done)
        return replace(row, revision=revision + 1)

    def _budget(self, old: Budget | None, row: Budget) -> None:
        before = old.rolled(self.now).crossed_percent if old else 0
        for threshold in THRESHOLDS:
            if before < threshold <= row.crossed_percent:
                event_id = self._event_id()
                body = budget_event(replace(row, crossed_percent=threshold), event_id, self.now)
                self._event(EventKind.BUDGET, event_id, row.account_id, row.id, body)

    def _count(self, old: Instance, new: Instance) -> None:
        if old.live != new.live:
            counts = self.loaded.live_counts
            counts[new.account_id] = counts.get(new.account_id, 0) + (1 if new.live else -1)

    def _message(self, key: Key, row: Record) -> bytes | None:
        return self.changes.messages.get(key) or self.loaded.messages.get(key) or build_message(row)

    def _event_id(self) -> str:
        return id_forms.encode(id_forms.EVENT, self.ids.uuid7())

    def _event(
        self,
        kind: EventKind,
        id: str,
        account_id: str,
        subject_id: str,
        body: bytes,
        revision: int = 0,
        final: bool = False,
    ) -> None:
        self.changes.events.append(
            Event(self.next_seq(), id, kind, account_id, subject_id, self.now, body, revision, final)
        )


class _Transaction:
    """One unit's view: its own writes over the batch's rows."""

    def __init__(self, batch: _Batch, unit: UnitOfWork[Any]) -> None:
        self.now = batch.now
        self.ids = batch.ids
        self.writes: dict[Key, Record | None] = {}
        self._batch = batch
        self._scope = unit.scope
        self._loads = unit.loads

    def get(self, table: type[Any], id: str) -> Any:
        key = (table, id)
        row = self.writes[key] if key in self.writes else self._batch.by_table.get(table, {}).get(id)
        return row if row is not None and _visible(self._scope, row) else None

    def where(self, table: type[Any], column: str, value: object) -> list[Any]:
        return self._matching(table, lambda row: getattr(row, column) == value)

    def live_instances(self, account_id: str) -> list[Instance]:
        return self._matching(Instance, lambda row: row.account_id == account_id and row.live)

    def _matching(self, table: type[Any], test: Callable[[Any], bool]) -> list[Any]:
        rows: Mapping[str, Record | None] = self._batch.by_table.get(table, {})
        if mine := {id: row for (of, id), row in self.writes.items() if of is table}:
            rows = {**rows, **mine}
        found = (row for row in rows.values() if row is not None and _visible(self._scope, row) and test(row))
        return sorted(found, key=lambda row: row.id)

    def count_live(self, account_id: str) -> int:
        return self._batch.loaded.live_counts.get(account_id, 0)

    def due(self) -> list[WorkItem]:
        found = []
        for load in self._loads:
            if isinstance(load, Due):
                items = (self.get(WorkItem, id) for id in self._batch.loaded.due.get(load, ()))
                found += [i for i in items if i is not None and i.due_at <= self.now and i.lease_until <= self.now]
        return found

    def put(self, record: Record) -> None:
        self.writes[type(record), record.id] = record

    def delete(self, table: type[Any], id: str) -> None:
        self.writes[table, id] = None


def _visible(scope: Scope, row: Record) -> bool:
    if scope.account_id is None:
        return True
    if isinstance(row, WorkItem):
        return True  # poked by tenants' calls; never shown to them
    return scope.account_id == getattr(row, "account_id", row.id)


__all__ = [
    "MESSAGE_VERSION",
    "Changes",
    "CountLive",
    "Due",
    "Get",
    "LiveInstances",
    "Loaded",
    "Outcome",
    "Where",
    "all_loads",
    "build_message",
    "decide",
]
