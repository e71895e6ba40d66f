"""What the webhook loops read and clear away: one set of statements for both databases, and the same in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import sqlalchemy as sa

from controlplane.adapters.store import tables
from controlplane.adapters.store.codec import RecordCodec
from controlplane.adapters.store.statements import DATABASE_NOW, Statements, event_of
from controlplane.domain.billing import SECOND
from controlplane.domain.events import Event, EventKind
from controlplane.domain.webhook import Delivery, Lane, WebhookEndpoint

endpoints, lanes, deliveries, log = (
    tables.webhook_endpoints, tables.webhook_lanes, tables.webhook_deliveries, tables.events,
)  # fmt: skip
_CODEC = RecordCodec(Delivery)
_COLUMNS = [deliveries.c[name] for name in _CODEC.columns]
_LIMIT: Any = sa.bindparam("limit")


class SqlWebhooks:
    """`WebhookRows` over a store that lends its connections: `fetch` reads, `remove` deletes and says how many.

    `now` gives the time that leases go by, None where the database itself knows it.
    """

    def __init__(
        self,
        sql: Statements,
        fetch: Callable[..., Awaitable[list[Any]]],
        remove: Callable[..., Awaitable[int]],
        now: Callable[[], int | None],
    ) -> None:
        self._fetch, self._remove, self._now = fetch, remove, now
        time: Any = sa.bindparam("now")
        if sql.dialect.name != "sqlite":
            # A subquery is asked once; the bare function changes on its way and keeps indexes out.
            time = sa.select(sa.func.coalesce(sa.cast(time, sa.BigInteger), DATABASE_NOW)).scalar_subquery()
        self._events = sql.render(_events())
        self._due = sql.render(_due_endpoints(time))
        self._heads = sql.render(_heads(time))
        self._oldest = sql.render(
            sa.select(*_COLUMNS)
            .where(deliveries.c.endpoint_id == sa.bindparam("endpoint_id"), deliveries.c.done_at.is_(None))
            .order_by(deliveries.c.seq)
            .limit(_LIMIT)
        )
        self._expired = sql.render(_removal(deliveries, deliveries.c.done_at < sa.bindparam("before")))
        self._orphans = [sql.render(clause) for clause in _orphans()]

    async def events(self, after_seq: int, up_to: int, limit: int) -> list[Event]:
        """See `WebhookRows.events`."""
        rows = await self._fetch(self._events, after=after_seq, up_to=up_to, limit=limit)
        return [event_of(row) for row in rows]

    async def due_endpoints(self, limit: int) -> list[str]:
        """See `WebhookRows.due_endpoints`."""
        return [row[0] for row in await self._fetch(self._due, now=self._now(), limit=limit)]

    async def heads(self, endpoint_id: str, limit: int) -> list[tuple[float, Delivery]]:
        """See `WebhookRows.heads`."""
        rows = await self._fetch(self._heads, now=self._now(), endpoint_id=endpoint_id, limit=limit)
        return [(row[0] / SECOND, _CODEC.decode(tuple(row)[1:])) for row in rows]

    async def oldest(self, endpoint_id: str, limit: int) -> list[Delivery]:
        """See `WebhookRows.oldest`."""
        rows = await self._fetch(self._oldest, endpoint_id=endpoint_id, limit=limit)
        return [_CODEC.decode(tuple(row)) for row in rows]

    async def expire(self, before: int, limit: int) -> int:
        """See `WebhookRows.expire`."""
        removed = await self._remove(self._expired, before=before, limit=limit)
        for statement in self._orphans:
            removed += await self._remove(statement, limit=limit)
        return removed


def _events() -> Any:
    told = sa.select(endpoints.c.account_id).where(endpoints.c.enabled)
    return (
        sa.select(log)
        .where(
            log.c.seq > sa.bindparam("after"),
            log.c.seq <= sa.bindparam("up_to"),
            log.c.kind == sa.literal_column(f"'{EventKind.INSTANCE.value}'"),
            log.c.account_id.in_(told),
        )
        .order_by(log.c.seq)
        .limit(_LIMIT)
    )


def _due_endpoints(now: Any) -> Any:
    return (
        sa.select(endpoints.c.id)
        .where(endpoints.c.enabled, endpoints.c.due_at <= now, endpoints.c.lease_until <= now)
        .order_by(endpoints.c.due_at)
        .limit(_LIMIT)
    )


def _heads(now: Any) -> Any:
    """The soonest lanes first, then one look for the head of each: both by an index, however much is pending."""
    soonest = (
        sa.select(lanes.c.id, lanes.c.due_at)
        .where(lanes.c.endpoint_id == sa.bindparam("endpoint_id"))
        .order_by(lanes.c.due_at)
        .limit(_LIMIT)
        .subquery("soonest")
    )
    other = deliveries.alias("other")
    head = (
        sa.select(other.c.id)
        .where(other.c.lane == soonest.c.id, other.c.done_at.is_(None))
        .order_by(other.c.seq)
        .limit(1)
        .scalar_subquery()
    )
    return (
        sa.select(soonest.c.due_at - now, *_COLUMNS)
        .select_from(soonest.join(deliveries, deliveries.c.id == head))
        .order_by(soonest.c.due_at)
    )


def _removal(table: sa.Table, *which: Any) -> Any:
    return sa.delete(table).where(table.c.id.in_(sa.select(table.c.id).where(*which).limit(_LIMIT)))


def _orphans() -> list[Any]:
    """What deleted endpoints left, and they themselves once nothing is left."""
    gone = sa.select(endpoints.c.id).where(endpoints.c.account_id == sa.literal_column("''"))
    rows = [_removal(table, table.c.endpoint_id.in_(gone)) for table in (lanes, deliveries)]
    left = [~sa.exists().where(table.c.endpoint_id == endpoints.c.id) for table in (lanes, deliveries)]
    return [*rows, _removal(endpoints, endpoints.c.account_id == sa.literal_column("''"), *left)]


class MemoryWebhooks:
    """`WebhookRows` over the tables of a MemoryDisk."""

    def __init__(
        self, table: Callable[[type[Any]], dict[str, Any]], events: Callable[[], list[Event]], now: Callable[[], int]
    ) -> None:
        self._table, self._log, self._now = table, events, now

    async def events(self, after_seq: int, up_to: int, limit: int) -> list[Event]:
        """See `WebhookRows.events`."""
        told = {row.account_id for row in self._table(WebhookEndpoint).values() if row.enabled}
        return [
            event
            for event in self._log()
            if after_seq < event.seq <= up_to and event.kind is EventKind.INSTANCE and event.account_id in told
        ][:limit]

    async def due_endpoints(self, limit: int) -> list[str]:
        """See `WebhookRows.due_endpoints`."""
        now = self._now()
        rows: list[WebhookEndpoint] = list(self._table(WebhookEndpoint).values())
        due = (row for row in rows if row.enabled and row.due_at <= now and row.lease_until <= now)
        return [row.id for row in sorted(due, key=lambda row: row.due_at)][:limit]

    async def heads(self, endpoint_id: str, limit: int) -> list[tuple[float, Delivery]]:
        """See `WebhookRows.heads`."""
        rows: list[Lane] = [row for row in self._table(Lane).values() if row.endpoint_id == endpoint_id]
        soonest = sorted(rows, key=lambda row: row.due_at)[:limit]
        pending = await self.oldest(endpoint_id, len(self._table(Delivery)))
        heads: dict[str, Delivery] = {}
        for row in pending:
            heads.setdefault(row.lane, row)
        return [((lane.due_at - self._now()) / SECOND, heads[lane.id]) for lane in soonest if lane.id in heads]

    async def oldest(self, endpoint_id: str, limit: int) -> list[Delivery]:
        """See `WebhookRows.oldest`."""
        rows: list[Delivery] = list(self._table(Delivery).values())
        pending = (row for row in rows if row.endpoint_id == endpoint_id and row.done_at is None)
        return sorted(pending, key=lambda row: row.seq)[:limit]

    async def expire(self, before: int, limit: int) -> int:
        """See `WebhookRows.expire`."""
        ends: list[WebhookEndpoint] = list(self._table(WebhookEndpoint).values())
        deleted = {row.id for row in ends if row.deleted}
        old = [row.id for row in self._table(Delivery).values() if row.done_at is not None and row.done_at < before]
        removed = self._remove(Delivery, old[:limit])
        for table in (Lane, Delivery):
            removed += self._remove(
                table, [row.id for row in self._table(table).values() if row.endpoint_id in deleted][:limit]
            )
        left = {row.endpoint_id for table in (Lane, Delivery) for row in self._table(table).values()}
        return removed + self._remove(WebhookEndpoint, sorted(deleted - left)[:limit])

    def _remove(self, table: type[Any], ids: list[str]) -> int:
        for id in ids:
            del self._table(table)[id]
        return len(ids)
