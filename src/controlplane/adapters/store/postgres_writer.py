"""One transaction per batch of units of work, and certainty about its commit.

Rows are locked in one order (tables, then ids); work is claimed with SKIP LOCKED; events are numbered under an
advisory lock taken last, so that their order is the order of commits; one NOTIFY per batch wakes other replicas.
Every batch leaves its id in the same transaction. A COMMIT whose answer was lost is settled by writing that id too:
the database then waits for the first transaction's end, and either refuses (it was committed) or makes sure that it
never will be. So a batch is never run twice, however late a packet arrives.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql

from controlplane.adapters.store import postgres_statements as statements
from controlplane.adapters.store import tables
from controlplane.adapters.store.batch import MESSAGE_VERSION, Changes, Loaded, Outcome, all_loads, decide
from controlplane.adapters.store.postgres_link import (
    CHANNEL,
    OutcomeUnknown,
    hang_up,
    is_loss,
    is_units_fault,
    retrying,
    unavailable,
)
from controlplane.adapters.store.postgres_statements import NOW
from controlplane.adapters.store.statements import CODECS, WITH_MESSAGE, Statements, keep, keep_work
from controlplane.domain.account import Account
from controlplane.domain.errors import Unavailable
from controlplane.domain.instance import Instance
from controlplane.domain.work import WorkItem
from controlplane.ports.clock import Clock
from controlplane.ports.ids import Ids
from controlplane.ports.store import CountLive, Due, Get, LiveInstances, Load, UnitOfWork, Where

log = structlog.get_logger()

EVENT_LOCK = 0x67707565  # "gpue"
BATCH_TIMEOUT_S = 20.0
ROLLBACK_TIMEOUT_S = 2.0

_ORDER = {table: number for number, table in enumerate(tables.BY_RECORD)}


class BatchWriter:
    """Runs batches on one connection of its own. `clock` replaces the database's time in tests."""

    def __init__(
        self, open: Callable[[], Awaitable[asyncpg.Connection]], ids: Ids, sql: Statements, clock: Clock | None
    ) -> None:
        self._open = open
        self._ids = ids
        self._sql = sql
        self._clock = clock
        self._database: asyncpg.Connection | None = None
        self.fault: tuple[float, Unavailable] | None = None  # of the last batch, and when
        self._due = sql.render(_due_clause(sql))

    @property
    def pid(self) -> int:
        """The server's number of the writing connection; 0 when there is none."""
        database = self._database
        return 0 if database is None or database.is_closed() else int(database.get_server_pid())

    async def apply(self, units: Sequence[UnitOfWork[Any]]) -> list[Outcome]:
        """Commit all units in one transaction. Raises Unavailable; a unit's own fault is its outcome alone."""
        try:
            outcomes: list[Outcome] = await retrying(lambda: self._transact(units))
        except Exception as error:
            if not is_units_fault(error):
                self.fault = (time.monotonic(), unavailable(error))
                raise self.fault[1] from error
            # One unit breaks a constraint or a type that its decision does not see: it alone fails.
            if len(units) == 1:
                log.exception("store.unit_failed")
                return [Outcome(error=error)]
            return [await self._alone(unit) for unit in units]
        self.fault = None
        return outcomes

    async def _alone(self, unit: UnitOfWork[Any]) -> Outcome:
        try:
            return (await self.apply([unit]))[0]
        except Unavailable as error:
            return Outcome(error=error)

    async def close(self) -> None:
        """Let the connection go."""
        await hang_up(self._database)

    async def _connection(self) -> asyncpg.Connection:
        if self._database is None or self._database.is_closed():
            self._database = None
            self._database = await self._open()
        return self._database

    async def _transact(self, units: Sequence[UnitOfWork[Any]]) -> list[Outcome]:
        database = await self._connection()
        batch_id, committing = str(self._ids.uuid7()), False
        outcomes: list[Outcome] = []
        try:
            async with asyncio.timeout(BATCH_TIMEOUT_S):
                await database.execute("BEGIN")
                now, loaded = await self._load(database, units)
                changes, outcomes = decide(units, loaded, now, self._ids, lambda: 0)
                if changes.empty:
                    await database.execute("ROLLBACK")
                    return outcomes
                commit = await self._write(database, changes, loaded, batch_id, now)
            committing = True
            if await database.execute(commit) != "COMMIT":
                raise ConnectionError("the transaction was rolled back")
        except BaseException as error:
            gone = await self._drop(database, error)
            if isinstance(error, asyncio.CancelledError) and not _cancelling():
                error = ConnectionError("the driver gave up")
            if not (committing and gone) or not isinstance(error, Exception):
                raise error
            if await self._was_committed(batch_id, error):
                return outcomes
            raise ConnectionError("the connection was lost before the commit") from error
        return outcomes

    async def _drop(self, database: asyncpg.Connection, error: BaseException) -> bool:
        """Roll back; let go of a connection that is lost. Whether it is gone."""
        if isinstance(error, Exception) and not is_loss(error) and not database.is_closed():
            try:
                async with asyncio.timeout(ROLLBACK_TIMEOUT_S):
                    await database.execute("ROLLBACK")
                return False
            except Exception as second:
                log.warning("store.rollback_failed", error=str(second))
        self._database = None
        database.terminate()
        return True

    async def _was_committed(self, batch_id: str, cause: BaseException) -> bool:
        """Whether the batch whose COMMIT got no answer was committed. If not, it cannot be any more."""

        async def look() -> bool:
            database = await self._connection()
            try:
                # Waits for the first transaction's end, if it still runs. A negative time marks our own row, so that
                # this may be repeated.
                await database.execute(
                    f"INSERT INTO commits (id, at) VALUES ($1, -{NOW}) ON CONFLICT (id) DO NOTHING", batch_id
                )
                return bool(await database.fetchval("SELECT at >= 0 FROM commits WHERE id = $1", batch_id))
            except BaseException as error:
                await self._drop(database, error)
                raise

        try:
            found = bool(await retrying(look))
        except Exception as error:
            raise OutcomeUnknown from error
        log.warning("store.commit_looked_up", batch=batch_id, committed=found, cause=f"{type(cause).__name__}: {cause}")
        return found

    # Loading

    async def _load(self, database: asyncpg.Connection, units: Sequence[UnitOfWork[Any]]) -> tuple[int, Loaded]:
        """Lock, then read: two processes never wait for each other in a circle, because all lock in one order; and
        whatever a lock was waited for is seen by the statement after it. Rows of a single table can be had at once."""
        loaded, loads = Loaded(), all_loads(units)
        keys = _keys(loads)
        counted = sorted({load.account_id for load in loads if isinstance(load, CountLive)})
        shape = tuple((table, tuple(sorted(keys[table]))) for table in sorted(keys, key=_ORDER.__getitem__))
        bound = [sorted(keys[table][name]) for table, names in shape for name in names]
        if len(shape) > 1 or counted:
            await database.fetch(statements.locking(shape), *bound)
        # The time is read after the locks: a batch that waited for another comes after it in time, too.
        [row] = await database.fetch(statements.reading(shape), *bound, counted)
        *found, now, counts = row
        for (table, _), rows in zip(shape, found, strict=True):
            for values in rows:
                keep(loaded, table, values)
        loaded.live_counts.update(counts)
        now = self._clock.now() if self._clock else now
        for load in loads:
            if isinstance(load, Due):
                await self._load_due(database, loaded, load, now)
        return now, loaded

    async def _load_due(self, database: asyncpg.Connection, loaded: Loaded, load: Due, now: int) -> None:
        left = dict(load.limits)
        busy = [provider for provider, more in left.items() if more <= 0]
        # Items beyond a provider's limit are skipped here, so look at more rows than are wanted.
        limit = load.limit * 4 if any(more < load.limit for more in left.values()) else load.limit
        bound = self._due.bind(now=now, host_id=load.host_id, limit=limit, busy=busy)
        found: list[str] = []
        for row in await database.fetch(self._due.sql, *bound):
            item: WorkItem = CODECS[WorkItem].decode(tuple(row))
            if item.provider in left:
                if left[item.provider] <= 0:
                    continue
                left[item.provider] -= 1
            loaded.rows[WorkItem, item.id] = item
            found.append(item.id)
            if len(found) == load.limit:
                break
        loaded.due[load] = found
        if found:
            # A statement of its own, after the items are locked: it sees all that their last holders wrote.
            statement = self._sql.of_work
            rows = await database.fetch(statement.sql, *statement.bind(values=found))
            keep_work(loaded, (tuple(row) for row in rows))

    # Writing

    async def _write(
        self, database: asyncpg.Connection, changes: Changes, loaded: Loaded, batch_id: str, now: int
    ) -> str:
        """Write everything but the commit; the statements that commit."""
        writes, arrays = _writes(changes, loaded)
        await database.fetch(statements.writing(writes), batch_id, *arrays)
        tail = f"NOTIFY {CHANNEL}; " if _concerns_others(changes, now) else ""
        if not changes.events:
            return f"{tail}COMMIT"
        # The lock is taken last and held to the commit: numbers follow commits. The numbering must be a statement of
        # its own, which sees what was committed while this one waited.
        await database.execute(f"{tail}SELECT pg_advisory_xact_lock({EVENT_LOCK})")
        events = [
            (e.id, e.kind.value, e.account_id, e.subject_id, e.at, e.body, e.revision, e.final) for e in changes.events
        ]
        await database.fetch(statements.APPEND, *(list(column) for column in zip(*events, strict=True)))
        return "COMMIT"


def _writes(changes: Changes, loaded: Loaded) -> tuple[tuple[statements.Write, ...], list[list[Any]]]:
    """What is written, in the order of tables and ids (an insert waits for another process that inserts the same
    key), and the columns' values. An update names only what changed in any of its rows."""
    groups: dict[tuple[type[Any], str], list[Sequence[Any]]] = {}
    moved: dict[type[Any], set[str]] = {}
    for key in sorted(changes.puts.keys() | changes.deletes, key=lambda key: (_ORDER[key[0]], key[1])):
        table, id = key
        if key in changes.deletes:
            groups.setdefault((table, statements.DELETE), []).append((id,))
            continue
        codec, before, row = CODECS[table], loaded.rows.get(key), changes.puts[key]
        message = changes.messages.get(key)
        values = codec.encode(row, before)
        if table in WITH_MESSAGE:
            values += (message, None if message is None else MESSAGE_VERSION)
        if before is not None:
            moved.setdefault(table, set()).update(
                codec.moved(before, row), statements.MESSAGE if message is not None else ()
            )
        groups.setdefault((table, statements.INSERT if before is None else statements.UPDATE), []).append(values)
    writes, arrays = [], []
    for (table, kind), rows in groups.items():
        columns = statements.COLUMNS[table][: len(rows[0])]
        wanted = columns if kind != statements.UPDATE else ("id", *(c for c in columns if c in moved[table]))
        if wanted == ("id",) and kind == statements.UPDATE:
            continue
        writes.append((table, kind, wanted))
        arrays += [list(array) for name, array in zip(columns, zip(*rows, strict=True), strict=True) if name in wanted]
    return tuple(writes), arrays


def _due_clause(sql: Statements) -> Any:
    """Work that is due and unheld, oldest first, skipping what another process is claiming and busy providers."""
    work = tables.work
    now: Any = sa.bindparam("now")
    host_id: Any = sa.bindparam("host_id")
    busy: Any = sa.bindparam("busy")
    return (
        sa.select(*sql.columns(WorkItem))
        .where(
            work.c.due_at <= now,
            work.c.lease_until <= now,
            sa.or_(work.c.host_id == "", work.c.host_id == host_id),
            work.c.provider != sa.all_(sa.cast(busy, postgresql.ARRAY(sa.Text))),
        )
        .order_by(work.c.due_at, work.c.id)
        .limit(sa.bindparam("limit"))
        .with_for_update(skip_locked=True)
    )


def _keys(loads: Sequence[Load]) -> dict[type[Any], dict[str, set[Any]]]:
    """Which rows the loads want: values by table and column; `live` stands for an account's live instances."""
    keys: dict[type[Any], dict[str, set[Any]]] = {}

    def want(table: type[Any], column: str, value: object) -> None:
        keys.setdefault(table, {}).setdefault(column, set()).add(value)

    for load in loads:
        match load:
            case Get(table, id):
                want(table, "id", id)
            case Where(table, column, value):
                want(table, column, value)
            case LiveInstances(account_id):
                want(Instance, "live", account_id)
            case CountLive(account_id):
                want(Account, "id", account_id)  # a count holds while its account is locked
    return keys


def _concerns_others(changes: Changes, now: int) -> bool:
    """Whether other replicas should look: at events, or at work that is free. Claims and renewals wake nobody."""
    items = (row for row in changes.puts.values() if isinstance(row, WorkItem))
    return bool(changes.events) or any(item.due_at <= now and item.lease_until <= now for item in items)


def _cancelling() -> bool:
    """Whether this very task was cancelled, and not something inside the driver."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
