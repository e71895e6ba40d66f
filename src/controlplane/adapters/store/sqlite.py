"""The store on SQLite: one writer thread with group commit, bounded indexed reads on the loop thread.

WAL with synchronous=FULL: group commit makes FULL as fast as NORMAL, so nothing returned is ever lost to a power cut.
Reads that no index bounds (filtered lists, reports, counts over all live instances) run in threads of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import structlog

from controlplane.adapters.store.batch import (
    MESSAGE_VERSION,
    Changes,
    Loaded,
    Outcome,
    all_loads,
    decide,
)
from controlplane.adapters.store.message_cache import MessageCache
from controlplane.adapters.store.reads import FAULT_SHOWN_S, SqlReads
from controlplane.adapters.store.reports import fold
from controlplane.adapters.store.statements import (
    CODECS,
    WITH_MESSAGE,
    Statement,
    Statements,
    keep,
    keep_work,
    query_values,
)
from controlplane.adapters.store.webhooks import SqlWebhooks
from controlplane.adapters.store.writer import Committed, GroupCommitWriter
from controlplane.domain.billing import SECOND
from controlplane.domain.errors import Unavailable
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation
from controlplane.domain.principal import Scope
from controlplane.domain.work import WorkItem
from controlplane.ports.clock import Clock
from controlplane.ports.ids import Ids
from controlplane.ports.store import (
    CountLive,
    Due,
    Get,
    InstanceQuery,
    LiveInstances,
    OperationQuery,
    UnitOfWork,
    UsageQuery,
    UsageRow,
    Where,
)

T = TypeVar("T")
log = structlog.get_logger()

BUSY_TIMEOUT_S = 2.0
"""How long a write waits for another program's lock. Callers queue behind it, and so does the health check."""

READERS = 2
"""Threads for reads that may take long. SQLite lets go of the interpreter while it searches."""

_EXPIRE_OPERATIONS = (
    "DELETE FROM operations WHERE id IN (SELECT id FROM operations WHERE done_at < ?1 LIMIT ?2) RETURNING id"
)
_EXPIRE_IDEMPOTENCY = "DELETE FROM idempotency WHERE id IN (SELECT id FROM idempotency WHERE created_at < ?1 LIMIT ?2)"
_EXPIRE_EVENTS = (
    # The oldest only: the log's age grows with its numbers, and a look at all of it would hold up the writer.
    "DELETE FROM events WHERE seq IN (SELECT seq FROM (SELECT seq, at FROM events ORDER BY seq LIMIT ?3)"
    " WHERE at < ?1 AND seq <= (SELECT max(seq) FROM events) - ?2)"
)

_UNITS_FAULT = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)


_Commit = tuple[Changes, set[type[Any]]]
"""What was written, and to which tables rows were added."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection with our settings. WAL readers never wait for the writer."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _reader(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    connection.execute("PRAGMA query_only=ON")
    return connection


def _data_version(database: sqlite3.Connection) -> int:
    """Changes when another connection commits."""
    version: int = database.execute("PRAGMA data_version").fetchone()[0]
    return version


def unavailable(error: BaseException) -> Unavailable:
    """What a caller may know of a database fault; the rest is in the log."""
    words = str(error).lower()
    why = next(
        (
            said
            for sign, said in (
                ("full", "the disk is full"),
                ("readonly", "the database is read-only"),
                ("read-only", "the database is read-only"),
                ("locked", "the database is locked by another program"),
                ("busy", "the database is locked by another program"),
                ("i/o error", "the disk of the database reports errors"),
            )
            if sign in words
        ),
        "the database cannot be used",
    )
    log.error("store.failed", error=str(error))
    return Unavailable(f"{why}; nothing was changed, try again")


class SqliteStore(SqlReads):
    """A Store over one SQLite file. One process only."""

    def __init__(self, path: Path, clock: Clock, ids: Ids, committed: Committed = lambda units, seconds: None) -> None:
        self._path = path
        self._clock = clock
        self._ids = ids
        self._sql = Statements("sqlite")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._write_to = connect(path)
        self._read_from = _reader(path)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._spare = deque(_reader(path) for _ in range(READERS))
        self._writer = GroupCommitWriter(self._apply, committed)
        self.webhooks = SqlWebhooks(self._sql, self._fetch, self._removed, clock.now)
        self._fault: tuple[float, Unavailable] | None = None  # of the last write, and when
        self._caches = {table: MessageCache() for table in WITH_MESSAGE}
        self._committed: deque[_Commit | None] = deque()  # what the caches have yet to learn; None: to forget
        self._committing = False  # a commit may be done whose events can be read, and that the caches have yet to learn
        self._data_version = _data_version(self._write_to)

    # Writing

    async def run(self, unit: UnitOfWork[T]) -> T:
        return await self._writer.run(unit)

    async def _apply(self, units: Sequence[UnitOfWork[Any]]) -> list[Outcome]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, units)
        finally:
            self._remember()
            self._committing = False

    def _remember(self) -> None:
        """Bring the caches up to what was committed, before any writer hears of it.

        Filling happens on this thread too, in one step with its read. So whoever read the row as it was before a
        commit has put it in before this, and whoever reads later reads it as it is after: nothing old stays.
        """
        while self._committed:
            commit = self._committed.popleft()
            if commit is None:
                for cache in self._caches.values():
                    cache.clear()
                continue
            changes, added = commit
            for table, id in changes.deletes:
                if table in WITH_MESSAGE:
                    self._caches[table].drop(id)
            for (table, id), message in changes.messages.items():
                row: Any = changes.puts[table, id]
                self._caches[table].put(id, (row.account_id, message))
            for table in added:
                self._caches[table].turn_pages()

    def _commit(self, units: Sequence[UnitOfWork[Any]]) -> list[Outcome]:
        try:
            outcomes = self._transact(units)
            self._fault = None
            return outcomes
        except Exception as error:
            if isinstance(error, sqlite3.Error) and not isinstance(error, _UNITS_FAULT):
                fault = unavailable(error)
                self._fault = (self._clock.monotonic(), fault)
                raise fault from error
            # One unit broke a constraint or a type that its decision did not see: it alone fails.
            if len(units) == 1:
                log.exception("store.unit_failed")
                raise
            return [self._alone(unit) for unit in units]

    def _alone(self, unit: UnitOfWork[Any]) -> Outcome:
        try:
            return self._commit([unit])[0]
        except Exception as error:
            return Outcome(error=error)

    def _transact(self, units: Sequence[UnitOfWork[Any]]) -> list[Outcome]:
        with self._transaction() as database:
            numbers = _Numbers(database)
            loaded = self._load(units)
            changes, outcomes = decide(units, loaded, self._clock.now(), self._ids, numbers)
            self._write(changes, loaded)
            self._committing = True  # from the COMMIT on, a watcher may know of events that the caches do not
        self._committed.append((changes, {table for table, id in changes.messages if (table, id) not in loaded.rows}))
        return outcomes

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        database = self._write_to
        if database.in_transaction:  # the last one failed, and so did its rollback
            database.execute("ROLLBACK")
        database.execute("BEGIN IMMEDIATE")
        try:
            if (version := _data_version(database)) != self._data_version:  # another program wrote to our file
                self._data_version = version
                self._committed.append(None)
            yield database
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                if database.in_transaction:
                    database.execute("ROLLBACK")
            raise

    def _load(self, units: Sequence[UnitOfWork[Any]]) -> Loaded:
        loaded = Loaded()
        for load in all_loads(units):
            match load:
                case Get(table, id):
                    self._load_rows(loaded, table, self._sql.get(table), id=id)
                case Where(table, column, value):
                    self._load_rows(loaded, table, self._sql.where(table, column), value=value)
                case LiveInstances(account_id):
                    self._load_rows(loaded, Instance, self._sql.live_instances, account_id=account_id)
                case CountLive(account_id):
                    statement = self._sql.count_live
                    row = self._write_to.execute(statement.sql, statement.bind(account_id=account_id)).fetchone()
                    loaded.live_counts[account_id] = row[0]
                case Due():
                    loaded.due[load] = self._load_due(loaded, load)
        return loaded

    def _load_rows(self, loaded: Loaded, table: type[Any], statement: Statement, **values: Any) -> None:
        for row in self._write_to.execute(statement.sql, statement.bind(**values)):
            keep(loaded, table, row)

    def _load_due(self, loaded: Loaded, load: Due) -> list[str]:
        left = dict(load.limits)
        busy = json.dumps([provider for provider, more in left.items() if more <= 0])
        # A provider may reach its limit on the way; so look at more rows than are wanted.
        bound = self._sql.due.bind(now=self._clock.now(), host_id=load.host_id, limit=load.limit * 4, busy=busy)
        found: list[str] = []
        for row in self._write_to.execute(self._sql.due.sql, bound):
            item: WorkItem = CODECS[WorkItem].decode(row)
            if item.provider in left:
                if left[item.provider] <= 0:
                    continue
                left[item.provider] -= 1
            loaded.rows[WorkItem, item.id] = item
            found.append(item.id)
            if len(found) == load.limit:
                break
        if found:
            statement = self._sql.of_work
            keep_work(loaded, self._write_to.execute(statement.sql, statement.bind(values=json.dumps(found))))
        return found

    def _write(self, changes: Changes, loaded: Loaded) -> None:
        database = self._write_to
        for table, id in changes.deletes:
            database.execute(self._sql.delete(table).sql, (id,))
        for key, row in changes.puts.items():
            message = changes.messages.get(key)
            if key in loaded.rows:
                # Only what changed: SQLite touches every index of a column that an update names.
                values = CODECS[key[0]].changed(loaded.rows[key], row)
                if message is not None:
                    values |= {"message": message, "message_version": MESSAGE_VERSION}
                if values:
                    sql = self._sql.update(key[0], tuple(values)).sql
                    database.execute(sql, (*values.values(), key[1]))
                continue
            upserted = CODECS[key[0]].encode(row)
            if message is not None:
                upserted += (message, MESSAGE_VERSION)
            database.execute(self._sql.upsert(key[0]).sql, upserted)
        statement = self._sql.insert_event
        database.executemany(
            statement.sql,
            [
                statement.bind(
                    seq=e.seq, id=e.id, kind=e.kind.value, account_id=e.account_id, subject_id=e.subject_id,
                    at=e.at, body=e.body, revision=e.revision, final=e.final,
                )
                for e in changes.events
            ],
        )  # fmt: skip

    # Reading

    async def _fetch(self, statement: Statement, **values: Any) -> list[Any]:
        return self._fetch_now(statement, **values)

    def _fetch_now(self, statement: Statement, **values: Any) -> list[Any]:
        """A read on the loop's thread, which nothing can come between."""
        try:
            return self._read_from.execute(statement.sql, statement.bind(**values)).fetchall()
        except sqlite3.Error as error:
            raise unavailable(error) from error

    async def _aside(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do work that may take long, off the loop."""

        def run() -> T:
            connection = self._spare.pop()
            try:
                return work(connection)
            except sqlite3.Error as error:
                raise unavailable(error) from error
            finally:
                self._spare.append(connection)

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    async def _fetch_aside(self, statement: Statement, **values: Any) -> list[Any]:
        bound = statement.bind(**values)
        return await self._aside(lambda connection: connection.execute(statement.sql, bound).fetchall())

    async def message(self, scope: Scope, table: type[Any], id: str) -> bytes | None:
        entry = None if self._committing else self._caches[table].get(id)
        if entry is None:
            rows = self._fetch_now(self._sql.message(table), id=id)
            if not rows:
                return None
            self._fill(table, rows)
            _, account_id, message, version = rows[0]
            if version != MESSAGE_VERSION:
                return await self._rebuilt(scope, table, id)
            entry = (account_id, message)
        return entry[1] if scope.sees(entry[0]) else None

    def _fill(self, table: type[Any], rows: Sequence[Any]) -> None:
        """Remember rows that this build wrote: on the loop, in one step with the read."""
        cache = self._caches[table]
        for id, account_id, message, version in rows:
            if version == MESSAGE_VERSION:
                cache.put(id, (account_id, message))

    async def messages(
        self, scope: Scope, query: InstanceQuery | OperationQuery, before_id: str, limit: int
    ) -> list[tuple[str, bytes]]:
        table = Instance if isinstance(query, InstanceQuery) else Operation
        cache, key = self._caches[table], (scope.account_id, before_id, limit)
        if query.bounded and not self._committing and (page := cache.page(key)) is not None:
            return page
        statement = self._sql.page(table, query, scoped=not scope.is_operator, first=not before_id)
        values = {"account_id": scope.account_id, "before_id": before_id, "limit": limit} | query_values(query)
        if query.bounded:
            rows = self._fetch_now(statement, **values)
            cache.put_page(key, [row[0] for row in rows])
            self._fill(table, rows)
        else:
            rows = await self._fetch_aside(statement, **values)
        return await self._current(scope, table, rows)

    async def usage(self, scope: Scope, query: UsageQuery) -> list[UsageRow]:
        statement = self._sql.render(self._sql.usage(scope.account_id, query))
        return await self._aside(lambda c: fold(c.execute(statement.sql, statement.bind()), query.bucket))

    async def due_in(self, host_id: str) -> float | None:
        due: int | None = self._fetch_now(self._sql.next_due, host_id=host_id)[0][0]
        return None if due is None else (due - self._clock.now()) / SECOND

    # Upkeep

    async def expire(self, before: int, keep_events: int, limit: int) -> int:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._expire, before, keep_events, limit)
        finally:
            self._remember()

    def _expire(self, before: int, keep_events: int, limit: int) -> int:
        try:
            with self._transaction() as database:
                operations = database.execute(_EXPIRE_OPERATIONS, (before, limit)).fetchall()
                removed = len(operations) + database.execute(_EXPIRE_IDEMPOTENCY, (before, limit)).rowcount
                removed += database.execute(_EXPIRE_EVENTS, (before, max(1, keep_events), limit)).rowcount
        except sqlite3.Error as error:
            raise unavailable(error) from error
        self._committed.append((Changes(deletes={(Operation, id) for (id,) in operations}), set()))
        return removed

    # For webhooks

    async def _removed(self, statement: Statement, **values: Any) -> int:
        def remove() -> int:
            try:
                with self._transaction() as database:
                    return database.execute(statement.sql, statement.bind(**values)).rowcount
            except sqlite3.Error as error:
                raise unavailable(error) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, remove)

    async def check(self) -> None:
        """A write in the writer's thread."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._check)
        finally:
            self._remember()

    def _check(self) -> None:
        try:
            with self._transaction() as database:
                # Writing the same value back reaches the disk: only so does a full or read-only one show.
                database.execute("UPDATE meta SET value = value WHERE key = 'epoch'")
        except sqlite3.Error as error:
            raise unavailable(error) from error
        # On a full disk there may be room for this one page, and none for what callers write.
        if self._fault is not None and self._clock.monotonic() - self._fault[0] < FAULT_SHOWN_S:
            raise self._fault[1]

    async def close(self) -> None:
        await self._writer.close()
        self._thread.shutdown()
        self._readers.shutdown()
        for connection in (self._write_to, self._read_from, *self._spare):
            connection.close()


class _Numbers:
    """Event numbers of one transaction; the log is read only when there is something to number."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._last: int | None = None

    def __call__(self) -> int:
        if self._last is None:
            self._last = self._database.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]
        self._last += 1
        return self._last
