"""The store on PostgreSQL: the same batches, with row locks, for any number of processes.

Rows are locked in one order (tables, then ids); work is claimed with SKIP LOCKED; events are numbered under an
advisory lock taken last, so that their order is the order of commits; one NOTIFY per batch wakes the other replicas.
Every batch leaves its id in the same transaction: a COMMIT whose answer was lost is looked up, never run again.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import create_async_engine
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from controlplane.adapters.store import tables
from controlplane.adapters.store.batch import (
    MESSAGE_VERSION,
    Changes,
    Loaded,
    Outcome,
    all_loads,
    build_message,
    decide,
)
from controlplane.adapters.store.reports import fold
from controlplane.adapters.store.schema import engine_url
from controlplane.adapters.store.statements import CODECS, WITH_MESSAGE, Statement, Statements, query_values
from controlplane.adapters.store.writer import Committed, GroupCommitWriter
from controlplane.domain.billing import SECOND
from controlplane.domain.errors import Unavailable
from controlplane.domain.events import Event, EventKind
from controlplane.domain.instance import Instance
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
    StoreInfo,
    UnitOfWork,
    UsageQuery,
    UsageRow,
    Where,
)

T = TypeVar("T")
log = structlog.get_logger()

CHANNEL = "gpuplane"
EVENT_LOCK = 0x67707565  # "gpue"
READERS = 4
STATEMENT_TIMEOUT_S = 10.0
RETRY_FOR_S = 3.0

# A demoted primary refuses writes but answers SELECT 1: it counts as lost (reference/peers.md section 3).
LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
CONTENDED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.UniqueViolationError)


def unavailable(error: BaseException) -> Unavailable:
    """What a caller may know of a database fault; the rest is in the log."""
    log.error("store.failed", error=f"{type(error).__name__}: {error}")
    why = "the database cannot be reached"
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        why = "the database is read-only"
    elif isinstance(error, asyncpg.DiskFullError):
        why = "the database's disk is full"
    elif isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
        why = "the database does not answer in time"
    return Unavailable(f"{why}; nothing was changed, try again")


class PostgresStore:
    """A Store over one PostgreSQL database. `woken` is told that some process committed.

    Time is the database's, so that replicas with clocks of their own agree on leases; `clock` is for tests.
    """

    def __init__(
        self, url: str, ids: Ids, committed: Committed = lambda units, seconds: None,
        woken: Callable[[], None] = lambda: None, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self._url = url
        self._ids = ids
        self._clock = clock
        self._sql = Statements("postgresql")
        self._writer = GroupCommitWriter(self._apply, committed)
        self._woken = woken
        self._write_to: asyncpg.Connection | None = None
        self._readers: asyncio.Queue[asyncpg.Connection | None] = asyncio.Queue()
        for _ in range(READERS):
            self._readers.put_nowait(None)
        self._listening: asyncio.Task[None] | None = None
        self._engine = create_async_engine(engine_url(url))
        self._info: StoreInfo | None = None

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(self._url, timeout=5, command_timeout=STATEMENT_TIMEOUT_S)

    # Writing

    async def run(self, unit: UnitOfWork[T]) -> T:
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="store-listener")
        return await self._writer.run(unit)

    async def _apply(self, units: Sequence[UnitOfWork[Any]]) -> list[Outcome]:
        try:
            return await self._retrying(lambda: self._transact(units), (*LOST, *CONTENDED, TimeoutError))
        except asyncpg.UniqueViolationError:
            if len(units) == 1:
                raise
            # One unit breaks a constraint that its decision does not see: it alone fails.
            return [await self._alone(unit) for unit in units]
        except (*LOST, asyncpg.PostgresError, TimeoutError) as error:
            raise unavailable(error) from error

    async def _alone(self, unit: UnitOfWork[Any]) -> Outcome:
        try:
            return (await self._apply([unit]))[0]
        except Exception as error:
            return Outcome(error=error)

    @staticmethod
    async def _retrying(call: Callable[[], Awaitable[T]], on: tuple[type[BaseException], ...]) -> T:
        async for attempt in AsyncRetrying(
            stop=stop_after_delay(RETRY_FOR_S),
            wait=wait_random_exponential(0.05, 1.0),
            retry=retry_if_exception(lambda error: isinstance(error, on)),
            reraise=True,
        ):
            with attempt:
                return await call()
        raise AssertionError("tenacity either returns or raises")

    async def _transact(self, units: Sequence[UnitOfWork[Any]]) -> list[Outcome]:
        database = await self._writing_connection()
        batch_id = str(self._ids.uuid7())
        try:
            outcomes = await self._in_transaction(database, units, batch_id)
        except (*LOST, TimeoutError, asyncio.CancelledError) as error:
            self._write_to = None
            database.terminate()
            committed = self._committing.pop(batch_id, None)
            if committed is not None and not isinstance(error, asyncio.CancelledError):
                return await self._look_up(batch_id, committed)
            raise
        return outcomes

    _committing: dict[str, list[Outcome]]

    async def _writing_connection(self) -> asyncpg.Connection:
        if self._write_to is None or self._write_to.is_closed():
            self._write_to = await self._connect()
            self._committing = {}
        return self._write_to

    async def _in_transaction(
        self, database: asyncpg.Connection, units: Sequence[UnitOfWork[Any]], batch_id: str
    ) -> list[Outcome]:
        transaction = database.transaction()
        await transaction.start()
        try:
            now, loaded = await self._load(database, units)
            changes, outcomes = decide(units, loaded, now, self._ids, itertools.count(1).__next__)
            if changes.empty:
                await transaction.rollback()
                return outcomes
            await self._write(database, changes, loaded, batch_id)
        except BaseException:
            if not database.is_closed():
                await transaction.rollback()
            raise
        self._committing[batch_id] = outcomes
        await transaction.commit()
        del self._committing[batch_id]
        return outcomes

    async def _look_up(self, batch_id: str, outcomes: list[Outcome]) -> list[Outcome]:
        """The COMMIT was sent and its answer lost: whether the batch's id is there tells what became of it."""

        async def look() -> bool:
            database = await self._writing_connection()
            try:
                return bool(await database.fetchval("SELECT 1 FROM commits WHERE id = $1", batch_id))
            except LOST:
                self._write_to = None
                database.terminate()
                raise

        if await self._retrying(look, LOST):
            return outcomes
        raise OSError("the connection was lost before the commit")

    async def _load(self, database: asyncpg.Connection, units: Sequence[UnitOfWork[Any]]) -> tuple[int, Loaded]:
        loaded, loads = Loaded(), all_loads(units)
        now = int(await database.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"))
        now = self._clock.now() if self._clock else now
        for table in tables.BY_RECORD:
            wanted = sorted(load.id for load in loads if isinstance(load, Get) and load.table is table)
            if wanted:
                self._keep(loaded, table, await database.fetch(self._sql.get_many(table).sql, wanted))
        for load in loads:
            match load:
                case Where(table, column, value):
                    statement = self._sql.where(table, column, lock=True)
                    self._keep(loaded, table, await database.fetch(statement.sql, *statement.bind(value=value)))
                case LiveInstances(account_id):
                    statement = self._sql.live_instances(lock=True)
                    rows = await database.fetch(statement.sql, *statement.bind(account_id=account_id))
                    self._keep(loaded, Instance, rows)
                case CountLive(account_id):
                    statement = self._sql.count_live
                    loaded.live_counts[account_id] = await database.fetchval(
                        statement.sql, *statement.bind(account_id=account_id)
                    )
                case Due():
                    await self._load_due(database, loaded, load, now)
                case _:
                    pass
        return now, loaded

    def _keep(self, loaded: Loaded, table: type[Any], rows: Sequence[Any]) -> None:
        for row in rows:
            values = tuple(row)
            record = CODECS[table].decode(values)
            loaded.rows[table, record.id] = record
            if table in WITH_MESSAGE and values[-1] == MESSAGE_VERSION:
                loaded.messages[table, record.id] = values[-2]

    async def _load_due(self, database: asyncpg.Connection, loaded: Loaded, load: Due, now: int) -> None:
        statement = self._sql.due(lock=True)
        rows = await database.fetch(statement.sql, *statement.bind(now=now, host_id=load.host_id, limit=load.limit * 4))
        left = dict(load.limits)
        found: list[str] = []
        for row in rows:
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

    async def _write(self, database: asyncpg.Connection, changes: Changes, loaded: Loaded, batch_id: str) -> None:
        statements: dict[Statement, list[tuple[Any, ...]]] = {}
        for (table, id), row in changes.puts.items():
            values = dict(zip(CODECS[table].columns, CODECS[table].encode(row), strict=True))
            message = changes.messages.get((table, id))
            if message is not None:
                values |= {"message": message, "message_version": MESSAGE_VERSION}
            if (table, id) not in loaded.rows:
                # A plain insert: a row that another process made meanwhile must not be overwritten unseen.
                statement, bound = self._sql.insert(table), values
            else:
                hidden = table in WITH_MESSAGE and message is None
                statement = self._sql.update_hidden(table) if hidden else self._sql.update(table)
                bound = {f"b_{name}": value for name, value in values.items()}
            statements.setdefault(statement, []).append(statement.bind(**bound))
        for table, id in changes.deletes:
            statements.setdefault(self._sql.delete(table), []).append((id,))
        for statement, bindings in statements.items():
            await database.executemany(statement.sql, bindings)
        await database.execute(
            "INSERT INTO commits (id, at) VALUES ($1, (extract(epoch FROM now()) * 1000000)::bigint)", batch_id
        )
        if changes.events:
            await self._append(database, changes.events)
        await database.execute(f"SELECT pg_notify('{CHANNEL}', '')")

    async def _append(self, database: asyncpg.Connection, events: list[Event]) -> None:
        """Number and append events. The lock is taken last and held to the commit: numbers follow commits."""
        await database.execute("SELECT pg_advisory_xact_lock($1)", EVENT_LOCK)
        last = await database.fetchval("SELECT coalesce(max(seq), 0) FROM events")
        statement = self._sql.insert_event
        await database.executemany(
            statement.sql,
            [
                statement.bind(
                    seq=last + e.seq, id=e.id, kind=e.kind.value, account_id=e.account_id, subject_id=e.subject_id,
                    at=e.at, body=e.body, revision=e.revision, final=e.final,
                )
                for e in events
            ],
        )  # fmt: skip

    # Waking

    async def _listen(self) -> None:
        """Pass on the wake-ups of all processes, for ever; a lost connection costs one poll."""
        while True:
            try:
                await self._listen_once()
            except (*LOST, asyncpg.PostgresError, TimeoutError) as error:
                log.warning("store.listener_lost", error=str(error))
            await asyncio.sleep(1.0)

    async def _listen_once(self) -> None:
        database = await self._connect()
        gone = asyncio.Event()
        database.add_termination_listener(lambda *_: gone.set())
        try:
            await database.add_listener(CHANNEL, lambda *_: self._woken())
            await gone.wait()
        finally:
            database.terminate()

    # Reading

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[asyncpg.Connection]:
        """A kept connection with its prepared statements; no pool, whose reset would double every read."""
        database = await self._readers.get()
        try:
            if database is None or database.is_closed():
                database = await self._connect()
            yield database
        except (*LOST, asyncio.CancelledError, TimeoutError):
            if database is not None:
                database.terminate()
            database = None
            raise
        finally:
            self._readers.put_nowait(database)

    async def _fetch(self, statement: Statement, **values: Any) -> list[Any]:
        async def ask() -> list[Any]:
            async with self._reader() as database:
                rows: list[Any] = await database.fetch(statement.sql, *statement.bind(**values))
                return rows

        try:
            return await self._retrying(ask, LOST)
        except (*LOST, asyncpg.PostgresError, TimeoutError) as error:
            raise unavailable(error) from error

    async def info(self) -> StoreInfo:
        if self._info is None:
            values = {row[0]: row[1] for row in await self._fetch(self._sql.render(sa.select(tables.meta)))}
            self._info = StoreInfo(values["deployment_id"], values["epoch"], values)
        return self._info

    async def get(self, scope: Scope, table: type[Any], id: str) -> Any:
        rows = await self._fetch(self._sql.get(table), id=id)
        record = CODECS[table].decode(tuple(rows[0])) if rows else None
        return record if record is not None and scope.sees(getattr(record, "account_id", record.id)) else None

    async def message(self, scope: Scope, table: type[Any], id: str) -> bytes | None:
        statement = self._sql.message(table, scoped=not scope.is_operator)
        rows = await self._fetch(statement, id=id, account_id=scope.account_id)
        return await self._fresh(scope, table, id, *rows[0]) if rows else None

    async def _fresh(self, scope: Scope, table: type[Any], id: str, message: bytes, version: int) -> bytes:
        """The stored message, or a rebuilt one when another build wrote it."""
        return message if version == MESSAGE_VERSION else build_message(await self.get(scope, table, id)) or b""

    async def messages(
        self, scope: Scope, query: InstanceQuery | OperationQuery, before_id: str, limit: int
    ) -> list[tuple[str, bytes]]:
        table = Instance if isinstance(query, InstanceQuery) else Operation
        statement = self._sql.page(table, query, scoped=not scope.is_operator, first=not before_id)
        rows = await self._fetch(
            statement, account_id=scope.account_id, before_id=before_id, limit=limit, **query_values(query)
        )
        return [(id, await self._fresh(scope, table, id, message, version)) for id, message, version in rows]

    async def select(
        self, scope: Scope, table: type[Any], where: dict[str, object], before_id: str, limit: int
    ) -> list[Any]:
        statement = self._sql.select(table, tuple(where), scoped=not scope.is_operator, first=not before_id)
        rows = await self._fetch(
            statement, account_id=scope.account_id, before_id=before_id, limit=limit,
            **{f"w_{column}": value for column, value in where.items()},
        )  # fmt: skip
        return [CODECS[table].decode(tuple(row)) for row in rows]

    async def usage(self, scope: Scope, query: UsageQuery) -> list[UsageRow]:
        statement = self._sql.usage(scope.account_id, query)
        async with self._engine.connect() as connection:
            rows = (await connection.execute(statement)).all()
        plain = [(r[0], r[1], r[2], int(r[3]), int(r[4]), int(r[5])) for r in rows]
        return await asyncio.to_thread(fold, plain, query.bucket)

    async def window(self) -> LogWindow:
        oldest, newest = (await self._fetch(self._sql.window))[0]
        return LogWindow(oldest or 0, newest or 0)

    async def events(self, after_seq: int, limit: int) -> list[Event]:
        rows = await self._fetch(self._sql.events_after, after=after_seq, limit=limit)
        return [Event(r[0], r[1], EventKind(r[2]), r[3], r[4], r[5], r[6], r[7], r[8]) for r in rows]

    async def due_in(self, host_id: str) -> float | None:
        row = (await self._fetch(self._sql.next_due_and_now, host_id=host_id))[0]
        now = self._clock.now() if self._clock else row[1]
        return None if row[0] is None else float(row[0] - now) / SECOND

    async def live_counts(self) -> list[LiveCount]:
        rows = await self._fetch(self._sql.live_counts)
        return [LiveCount(provider, State(state), count, since or 0) for provider, state, count, since in rows]

    # Upkeep

    async def expire(self, before: int, keep_events: int, limit: int) -> int:
        removed = 0
        async with self._reader() as database:
            for sql, bound in (
                (
                    "DELETE FROM operations WHERE id IN (SELECT id FROM operations WHERE done_at < $1 LIMIT $2)",
                    (before, limit),
                ),
                (
                    "DELETE FROM idempotency WHERE id IN (SELECT id FROM idempotency WHERE created_at < $1 LIMIT $2)",
                    (before, limit),
                ),
                ("DELETE FROM commits WHERE id IN (SELECT id FROM commits WHERE at < $1 LIMIT $2)", (before, limit)),
                (
                    "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE at < $1"
                    " AND seq <= (SELECT max(seq) FROM events) - $2 ORDER BY seq LIMIT $3)",
                    (before, max(1, keep_events), limit),
                ),
            ):
                said = await database.execute(sql, *bound)
                removed += int(said.rpartition(" ")[2])
        return removed

    async def check(self) -> None:
        """A write that is taken back: a standby answers reads, and is no database to us."""
        try:
            async with self._reader() as database:
                transaction = database.transaction()
                await transaction.start()
                await database.execute("UPDATE meta SET value = value WHERE key = 'epoch'")
                await transaction.rollback()
        except (*LOST, asyncpg.PostgresError, TimeoutError) as error:
            raise unavailable(error) from error

    async def close(self) -> None:
        await self._writer.close()
        if self._listening is not None:
            self._listening.cancel()
        await self._engine.dispose()
        connections = [self._write_to, *(self._readers.get_nowait() for _ in range(self._readers.qsize()))]
        for connection in connections:
            if connection is not None:
                connection.terminate()
