"""The store in memory: for tests and the simulation. `MemoryDisk` is what survives a crash of the process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from controlplane.adapters.store.batch import Changes, Key, Loaded, Outcome, all_loads, decide
from controlplane.adapters.store.reports import sum_usage
from controlplane.adapters.store.webhooks import MemoryWebhooks
from controlplane.adapters.store.writer import Committed, GroupCommitWriter
from controlplane.domain.account import IdempotencyRecord
from controlplane.domain.billing import SECOND
from controlplane.domain.events import Event
from controlplane.domain.instance import Instance
from controlplane.domain.ledger import LedgerEntry
from controlplane.domain.operation import Operation
from controlplane.domain.principal import Scope
from controlplane.domain.state import State
from controlplane.domain.work import WorkItem
from controlplane.ports.clock import Clock
from controlplane.ports.ids import Ids
from controlplane.ports.store import (
    CountLive,
    Due,
    Get,
    InstanceQuery,
    LiveCount,
    LiveInstances,
    LogWindow,
    OperationQuery,
    Record,
    StoreInfo,
    UnitOfWork,
    UsageQuery,
    UsageRow,
    Where,
)

T = TypeVar("T")


@dataclass
class MemoryDisk:
    """Committed state."""

    info: StoreInfo = field(default_factory=lambda: StoreInfo("test", "epoch"))
    rows: dict[type[Any], dict[str, Record]] = field(default_factory=dict)
    messages: dict[Key, bytes] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    last_seq: int = 0

    def table(self, table: type[Any]) -> dict[str, Any]:
        """All rows of a table by id."""
        return self.rows.setdefault(table, {})


class MemoryStore:
    """A Store over a MemoryDisk."""

    def __init__(
        self, disk: MemoryDisk, clock: Clock, ids: Ids, committed: Committed = lambda units, seconds: None
    ) -> None:
        self._disk = disk
        self._clock = clock
        self._ids = ids
        self._writer = GroupCommitWriter(self._apply, committed)
        self.webhooks = MemoryWebhooks(disk.table, lambda: disk.events, clock.now)

    async def run(self, unit: UnitOfWork[T]) -> T:
        return await self._writer.run(unit)

    async def _apply(self, units: Sequence[UnitOfWork[Any]]) -> list[Outcome]:
        changes, outcomes = decide(units, self._load(units), self._clock.now(), self._ids, self._next_seq)
        self._write(changes)
        return outcomes

    def _next_seq(self) -> int:
        self._disk.last_seq += 1
        return self._disk.last_seq

    def _load(self, units: Sequence[UnitOfWork[Any]]) -> Loaded:
        loaded = Loaded()
        for load in all_loads(units):
            found: list[Any] = []
            match load:
                case Get(table, id):
                    row = self._disk.table(table).get(id)
                    found = [row] if row is not None else []
                case Where(table, column, value):
                    found = [r for r in self._disk.table(table).values() if getattr(r, column) == value]
                case LiveInstances(account_id):
                    found = self._live(account_id)
                case CountLive(account_id):
                    loaded.live_counts[account_id] = len(self._live(account_id))
                case Due():
                    found = self._due(load)
                    loaded.due[load] = [item.id for item in found]
                    rows = [r for item in found if (r := self._disk.table(Instance).get(item.id))]
                    operations = self._disk.table(Operation)
                    found = [*found, *rows, *(o for r in rows if (o := operations.get(r.create_operation_id)))]
            for row in found:
                key = (type(row), row.id)
                loaded.rows[key] = row
                if key in self._disk.messages:
                    loaded.messages[key] = self._disk.messages[key]
        return loaded

    def _live(self, account_id: str) -> list[Instance]:
        rows: list[Instance] = list(self._disk.table(Instance).values())
        return [r for r in rows if r.account_id == account_id and r.live]

    def _due(self, load: Due) -> list[WorkItem]:
        left, now = dict(load.limits), self._clock.now()
        found = []
        items: list[WorkItem] = list(self._disk.table(WorkItem).values())
        for item in sorted(items, key=lambda i: (i.due_at, i.id)):
            if item.due_at > now or item.lease_until > now or item.host_id not in ("", load.host_id):
                continue
            if item.provider in left:
                if left[item.provider] <= 0:
                    continue
                left[item.provider] -= 1
            found.append(item)
        return found[: load.limit]

    def _write(self, changes: Changes) -> None:
        for table, id in changes.deletes:
            self._disk.table(table).pop(id, None)
        for (table, id), row in changes.puts.items():
            self._disk.table(table)[id] = row
        self._disk.messages.update(changes.messages)
        self._disk.events.extend(changes.events)

    async def info(self) -> StoreInfo:
        return self._disk.info

    async def get(self, scope: Scope, table: type[Any], id: str) -> Any:
        row = self._disk.table(table).get(id)
        return row if row is not None and scope.sees(getattr(row, "account_id", row.id)) else None

    async def message(self, scope: Scope, table: type[Any], id: str) -> bytes | None:
        row = await self.get(scope, table, id)
        return self._disk.messages[table, id] if row is not None else None

    async def messages(
        self, scope: Scope, query: InstanceQuery | OperationQuery, before_id: str, limit: int
    ) -> list[tuple[str, bytes]]:
        table = Instance if isinstance(query, InstanceQuery) else Operation
        rows = [
            row
            for id, row in sorted(self._disk.table(table).items(), reverse=True)
            if (not before_id or id < before_id) and scope.sees(row.account_id) and _meets(query, row)
        ]
        return [(row.id, self._disk.messages[table, row.id]) for row in rows[:limit]]

    async def select(
        self, scope: Scope, table: type[Any], where: dict[str, object], before_id: str, limit: int
    ) -> list[Any]:
        rows = [
            row
            for id, row in sorted(self._disk.table(table).items(), reverse=True)
            if (not before_id or id < before_id)
            and scope.sees(getattr(row, "account_id", row.id))
            and all(getattr(row, column) == value for column, value in where.items())
        ]
        return rows[:limit]

    async def usage(self, scope: Scope, query: UsageQuery) -> list[UsageRow]:
        entries: list[LedgerEntry] = list(self._disk.table(LedgerEntry).values())
        seen = (e for e in entries if scope.sees(e.account_id))
        if query.label is not None:
            carriers = InstanceQuery(labels=(query.label,))
            instances = self._disk.table(Instance)
            seen = (e for e in seen if e.instance_id in instances and _meets(carriers, instances[e.instance_id]))
        return sum_usage(seen, query)

    async def window(self) -> LogWindow:
        events = self._disk.events
        return LogWindow(events[0].seq, events[-1].seq) if events else LogWindow()

    async def events(self, after_seq: int, limit: int) -> list[Event]:
        return [e for e in self._disk.events if e.seq > after_seq][:limit]

    async def due_in(self, host_id: str) -> float | None:
        items: list[WorkItem] = list(self._disk.table(WorkItem).values())
        due = min((max(i.due_at, i.lease_until) for i in items if i.host_id in ("", host_id)), default=None)
        return None if due is None else (due - self._clock.now()) / SECOND

    async def expire(self, before: int, keep_events: int, limit: int) -> int:
        disk, removed = self._disk, 0
        old_operations = [r.id for r in disk.table(Operation).values() if r.done_at and r.done_at < before]
        old_records = [r.id for r in disk.table(IdempotencyRecord).values() if r.created_at < before]
        for table, old in ((Operation, old_operations), (IdempotencyRecord, old_records)):
            for id in old[:limit]:
                del disk.table(table)[id]
                disk.messages.pop((table, id), None)
                removed += 1
        cut = min(max(0, len(disk.events) - max(1, keep_events)), limit)
        while cut and disk.events[cut - 1].at >= before:
            cut -= 1
        del disk.events[:cut]
        return removed + cut

    async def live_counts(self) -> list[LiveCount]:
        found: dict[tuple[str, State], list[int]] = {}
        for row in self._disk.table(Instance).values():
            if not row.settled:
                found.setdefault((row.provider, row.state), []).append(row.stop_at or row.end_at or 0)
        return [
            LiveCount(provider, state, len(since), min((at for at in since if at), default=0))
            for (provider, state), since in found.items()
        ]

    async def check(self) -> None:
        return None

    async def close(self) -> None:
        await self._writer.close()


def _meets(query: InstanceQuery | OperationQuery, row: Any) -> bool:
    if isinstance(query, OperationQuery):
        return (not query.instance_id or row.instance_id == query.instance_id) and (
            query.state is None or row.state is query.state
        )
    return (
        (not query.states or row.state in query.states)
        and (not query.provider or row.provider == query.provider)
        and (not query.live_only or row.live)
        and all(row.labels.get(k) == v if v is not None else k in row.labels for k, v in query.labels)
    )
