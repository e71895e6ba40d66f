"""The reads that both databases answer in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from controlplane.adapters.store import tables
from controlplane.adapters.store.batch import MESSAGE_VERSION, build_message
from controlplane.adapters.store.statements import CODECS, Statement, Statements, event_of
from controlplane.domain.events import Event
from controlplane.domain.principal import Scope
from controlplane.domain.state import State
from controlplane.ports.store import LiveCount, LogWindow, StoreInfo

FAULT_SHOWN_S = 5.0
"""How long the health check remembers a failed write that no successful one followed."""


class SqlReads:
    """Half of a Store. A database brings `_fetch`, and `_fetch_aside` where a long read needs another place."""

    _sql: Statements
    _info: StoreInfo | None = None

    async def _fetch(self, statement: Statement, **values: Any) -> Sequence[Sequence[Any]]:
        """The rows of a bounded, indexed read. Raises Unavailable."""
        raise NotImplementedError

    async def _fetch_aside(self, statement: Statement, **values: Any) -> Sequence[Sequence[Any]]:
        """The rows of a read that may take long."""
        return await self._fetch(statement, **values)

    async def info(self) -> StoreInfo:
        if self._info is None:
            values = {row[0]: row[1] for row in await self._fetch(self._sql.render(sa.select(tables.meta)))}
            self._info = StoreInfo(values["deployment_id"], values["epoch"], values)
        return self._info

    async def get(self, scope: Scope, table: type[Any], id: str) -> Any:
        rows = await self._fetch(self._sql.get(table), id=id)
        record = CODECS[table].decode(rows[0]) if rows else None
        return record if record is not None and scope.sees(getattr(record, "account_id", record.id)) else None

    async def _current(self, scope: Scope, table: type[Any], rows: Sequence[Sequence[Any]]) -> list[tuple[str, bytes]]:
        """Ids and messages; those that another build wrote are built anew."""
        return [
            (id, message if version == MESSAGE_VERSION else await self._rebuilt(scope, table, id) or b"")
            for id, _, message, version in rows
        ]

    async def _rebuilt(self, scope: Scope, table: type[Any], id: str) -> bytes | None:
        row = await self.get(scope, table, id)
        return build_message(row) if row is not None else None

    async def select(
        self, scope: Scope, table: type[Any], where: dict[str, object], before_id: str, limit: int
    ) -> list[Any]:
        statement = self._sql.select(table, tuple(where), scoped=not scope.is_operator, first=not before_id)
        rows = await self._fetch(
            statement, account_id=scope.account_id, before_id=before_id, limit=limit,
            **{f"w_{column}": value for column, value in where.items()},
        )  # fmt: skip
        return [CODECS[table].decode(row) for row in rows]

    async def window(self) -> LogWindow:
        oldest, newest = (await self._fetch(self._sql.window))[0]
        return LogWindow(oldest or 0, newest or 0)

    async def events(self, after_seq: int, limit: int) -> list[Event]:
        return [event_of(row) for row in await self._fetch(self._sql.events_after, after=after_seq, limit=limit)]

    async def live_counts(self) -> list[LiveCount]:
        rows = await self._fetch_aside(self._sql.live_counts)
        return [LiveCount(provider, State(state), count, since or 0) for provider, state, count, since in rows]
