"""The store on PostgreSQL: the same batches, with row locks, for any number of processes.

A process holds at most 1 writing, READERS reading, 1 reporting and 1 listening connection. Reads are of committed
rows only, and of a primary: what `run` returned is there for every replica's next read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import asyncpg

from controlplane.adapters.store.batch import MESSAGE_VERSION
from controlplane.adapters.store.gather import GatheredReads
from controlplane.adapters.store.postgres_link import (
    STATEMENT_TIMEOUT_S,
    KeptConnections,
    Listener,
    connect,
    is_loss,
    retrying,
    unavailable,
)
from controlplane.adapters.store.postgres_writer import BatchWriter
from controlplane.adapters.store.reads import FAULT_SHOWN_S, SqlReads
from controlplane.adapters.store.reports import fold
from controlplane.adapters.store.statements import WITH_MESSAGE, Statement, Statements, query_values
from controlplane.adapters.store.webhooks import SqlWebhooks
from controlplane.adapters.store.writer import Committed, GroupCommitWriter
from controlplane.domain.billing import SECOND
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation
from controlplane.domain.principal import Scope
from controlplane.ports.clock import Clock
from controlplane.ports.ids import Ids
from controlplane.ports.store import (
    InstanceQuery,
    OperationQuery,
    UnitOfWork,
    UsageQuery,
    UsageRow,
)

T = TypeVar("T")

READERS = 4
REPORT_TIMEOUT_S = 60.0

_EXPIRE = (
    "DELETE FROM operations WHERE id IN"
    " (SELECT id FROM operations WHERE done_at < $1 ORDER BY done_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    "DELETE FROM idempotency WHERE id IN"
    " (SELECT id FROM idempotency WHERE created_at < $1 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    "DELETE FROM commits WHERE id IN"
    " (SELECT id FROM commits WHERE at >= 0 AND at < $1 OR at < 0 AND at > -$1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
)
_EXPIRE_EVENTS = (
    # The oldest only: the log's age grows with its numbers, and a look at all of it each minute would cost.
    "DELETE FROM events WHERE seq IN (SELECT seq FROM (SELECT seq, at FROM events ORDER BY seq LIMIT $3) oldest"
    " WHERE at < $1 AND seq <= (SELECT max(seq) FROM events) - $2)"
)


class PostgresStore(SqlReads):
    """A Store over one PostgreSQL database. `woken` is told that another process committed.

    Time is the database's, so that replicas with clocks of their own agree on leases; `clock` is for tests.
    """

    def __init__(
        self, url: str, ids: Ids, committed: Committed = lambda units, seconds: None,
        woken: Callable[[], None] = lambda: None, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self._clock = clock
        self._sql = Statements("postgresql")
        read, write = partial(connect, url, writing=False), partial(connect, url, writing=True)
        self._batches = BatchWriter(write, ids, self._sql, clock)
        self._writer = GroupCommitWriter(self._batches.apply, committed)
        self._readers = KeptConnections(read, READERS, STATEMENT_TIMEOUT_S)
        self._reports = KeptConnections(partial(read, patience_s=REPORT_TIMEOUT_S), 1, REPORT_TIMEOUT_S)
        self._listener = Listener(read, woken, lambda: self._batches.pid)
        self.webhooks = SqlWebhooks(self._sql, self._fetch, self._removed, lambda: clock.now() if clock else None)
        self._gathered = {table: GatheredReads(partial(self._messages_of, table)) for table in WITH_MESSAGE}

    async def run(self, unit: UnitOfWork[T]) -> T:
        self._listener.start()
        return await self._writer.run(unit)

    # Reading

    async def _fetch(self, statement: Statement, **values: Any) -> list[Any]:
        return await self._ask(self._readers, statement.sql, statement.bind(**values))

    async def _ask(self, connections: KeptConnections, sql: str, bound: tuple[Any, ...]) -> list[Any]:
        try:
            rows: list[Any] = await retrying(lambda: connections.fetch(sql, bound))
        except Exception as error:
            if is_loss(error) or isinstance(error, asyncpg.PostgresError):
                raise unavailable(error) from error
            raise
        return rows

    async def message(self, scope: Scope, table: type[Any], id: str) -> bytes | None:
        # No text holds a NUL; asked for, it would fail the statement of all who ask at the same time.
        row = None if "\0" in id else await self._gathered[table].get(id)
        if row is None or not scope.sees(row[1]):
            return None
        return row[2] if row[3] == MESSAGE_VERSION else await self._rebuilt(scope, table, id)

    async def _messages_of(self, table: type[Any], ids: Sequence[str]) -> dict[str, Any]:
        return {row[0]: row for row in await self._fetch(self._sql.messages(table), values=ids)}

    async def messages(
        self, scope: Scope, query: InstanceQuery | OperationQuery, before_id: str, limit: int
    ) -> list[tuple[str, bytes]]:
        table = Instance if isinstance(query, InstanceQuery) else Operation
        statement = self._sql.page(table, query, scoped=not scope.is_operator, first=not before_id)
        rows = await self._fetch(
            statement, account_id=scope.account_id, before_id=before_id, limit=limit, **query_values(query)
        )
        return await self._current(scope, table, rows)

    async def usage(self, scope: Scope, query: UsageQuery) -> list[UsageRow]:
        statement = self._sql.render(self._sql.usage(scope.account_id, query))
        # On a connection of its own: it may take long, and the others are for what is quick.
        rows = await self._ask(self._reports, statement.sql, statement.bind())
        plain = [(r[0], r[1], r[2], int(r[3]), int(r[4]), int(r[5])) for r in rows]
        return await asyncio.to_thread(fold, plain, query.bucket)

    async def due_in(self, host_id: str) -> float | None:
        row = (await self._fetch(self._sql.next_due_and_now, host_id=host_id))[0]
        now = self._clock.now() if self._clock else row[1]
        return None if row[0] is None else float(row[0] - now) / SECOND

    # Upkeep

    async def expire(self, before: int, keep_events: int, limit: int) -> int:
        removed = 0
        for sql in _EXPIRE:
            removed += await self._remove(sql, (before, limit))
        return removed + await self._remove(_EXPIRE_EVENTS, (before, max(1, keep_events), limit))

    async def _remove(self, sql: str, bound: tuple[Any, ...]) -> int:
        rows = await self._ask(self._readers, f"WITH gone AS ({sql} RETURNING 1) SELECT count(*) FROM gone", bound)
        return int(rows[0][0])

    async def _removed(self, statement: Statement, **values: Any) -> int:
        return await self._remove(statement.sql, statement.bind(**values))

    async def check(self) -> None:
        """A small write: a standby answers reads, and is no database to us."""
        try:
            await self._readers.fetch("UPDATE meta SET value = value WHERE key = 'epoch'", ())
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise unavailable(error) from error
        # On a full disk there may be room for this one row, and none for what callers write.
        fault = self._batches.fault
        if fault is not None and time.monotonic() - fault[0] < FAULT_SHOWN_S:
            raise fault[1]

    async def close(self) -> None:
        await self._writer.close()
        await self._listener.close()
        await self._batches.close()
        await self._readers.close()
        await self._reports.close()
