"""From the event log to webhook deliveries: one replica at a time reads each event once.

The place in the log stands in a row, and moves in the same commit that adds the deliveries; so a kill repeats or loses
none. Whoever finds unread events takes the row's lease; while nothing is to be read nobody holds it, and an idle plane
writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog

from controlplane.dialect import WebhookFormat
from controlplane.domain.billing import SECOND
from controlplane.domain.errors import PlaneError
from controlplane.domain.events import Event
from controlplane.domain.principal import ALL
from controlplane.domain.records import replace
from controlplane.domain.webhook import Delivery, Lane, WebhookCursor, WebhookEndpoint, lane_id
from controlplane.domain.work import LeaseLost
from controlplane.ports.bus import Topic
from controlplane.ports.meter import Count
from controlplane.ports.store import Get, Load, LogWindow, Transaction, UnitOfWork
from controlplane.usecases.core import Core

log = structlog.get_logger()

POLL_S = 1.0
GATHER_S = 0.05  # what is committed within this is told together; bounds the looks at a busy log
LEASE_S = 6.0
SAVE_S = 2.0  # how often the place is written while nothing is found to tell; renews the lease
PAGE = 100  # events of one commit
SCAN = 5000  # events looked at in one read

MOST_ENDPOINTS = 1000  # of an account; the policy allows fewer

CURSOR = WebhookCursor().id


@dataclass(frozen=True, slots=True)
class Telling:
    """One event in one dialect's words."""

    event: Event
    dialect: str
    event_type: str
    body: str


class Fanout:
    """Reads the log for the endpoints of all accounts. `formats` are those of the dialects, by name."""

    def __init__(
        self, core: Core, holder: str, formats: Mapping[str, WebhookFormat], most_pending: int = 100_000
    ) -> None:
        self._core = core
        self._holder = holder
        self._formats = formats
        self._most_pending = most_pending
        self._held: WebhookCursor | None = None  # as of the last commit
        self._seq = 0  # read up to here, which may be further
        self._saved_at = 0.0
        self._asked_at = float("-inf")  # for the lease

    async def run(self) -> None:
        """Read and tell until cancelled."""
        waiter = self._core.bus.waiter(Topic.EVENTS)
        while True:
            try:
                more = await self.step()
            except (PlaneError, LeaseLost) as error:
                log.warning("webhooks.fanout_failed", error=str(error) or type(error).__name__)
                self._held, more = None, False
            if not more:
                await waiter.wait(POLL_S)
                await self._core.clock.sleep(GATHER_S)

    async def step(self) -> bool:
        """One page of the log; whether more is known to follow."""
        # The window is read first: an endpoint that the reads after it do not show is younger than these events.
        window = await self._core.store.window()
        if not await self._hold(window):
            return False
        seq = self._passed_gap(window)
        up_to = min(window.newest, seq + SCAN)
        events = await self._core.store.webhooks.events(seq, up_to, PAGE)
        reached = events[-1].seq if len(events) == PAGE else max(seq, up_to)
        endpoints = await self._endpoints(event.account_id for event in events)
        tellings = [told for event in events for told in self._told(event, endpoints.get(event.account_id, ()))]
        if tellings or self._core.clock.monotonic() - self._saved_at >= SAVE_S:
            await self._commit(reached, tellings, endpoints)
        self._seq = reached
        return reached < window.newest

    # The place in the log

    async def _hold(self, window: LogWindow) -> bool:
        """Hold the place, if there is something to read and nobody else does."""
        core = self._core
        if self._held is not None and core.clock.monotonic() - self._saved_at < LEASE_S:
            return window.newest > self._seq or await self._save()
        self._held = None
        row = await core.store.get(ALL, WebhookCursor, CURSOR) or WebhookCursor()
        before = core.clock.monotonic()
        if window.newest <= row.seq or before - self._asked_at < POLL_S:
            return False
        self._asked_at = before

        def decide(tx: Transaction) -> WebhookCursor | None:
            row = tx.get(WebhookCursor, CURSOR) or WebhookCursor()
            if row.lease_until > tx.now:
                return None
            claimed = row.claimed(self._holder, tx.now, int(LEASE_S * SECOND))
            tx.put(claimed)
            return claimed

        self._held = await core.store.run(UnitOfWork(ALL, [Get(WebhookCursor, CURSOR)], decide))
        if self._held is not None:
            self._seq, self._saved_at = self._held.seq, before
        return self._held is not None

    async def _save(self) -> bool:
        """Nothing to read: write down how far it was, once; then the lease may run out. Returns False."""
        late = self._core.clock.monotonic() - self._saved_at >= SAVE_S
        if late and self._held is not None and self._seq > self._held.seq:
            await self._commit(self._seq, [], {})
        return False

    def _passed_gap(self, window: LogWindow) -> int:
        """Where to read on; past what was trimmed before it was read, which is said."""
        if self._seq and window.oldest > self._seq + 1:
            self._core.meter.count(Count.WEBHOOK_GAPS)
            log.error("webhooks.events_lost", after=self._seq, oldest=window.oldest)
        return max(self._seq, window.oldest - 1)

    # What is told

    async def _endpoints(self, accounts: Iterable[str]) -> dict[str, list[WebhookEndpoint]]:
        return {
            account: await self._core.store.select(ALL, WebhookEndpoint, {"account_id": account}, "", MOST_ENDPOINTS)
            for account in dict.fromkeys(accounts)
        }

    def _told(self, event: Event, endpoints: Iterable[WebhookEndpoint]) -> list[Telling]:
        """The event in the words of each dialect that an endpoint speaks."""
        found = []
        for dialect in dict.fromkeys(row.dialect for row in endpoints if row.enabled and row.dialect in self._formats):
            try:
                rendered = self._formats[dialect].render(event.id, event.at, event.body)
            except Exception:  # one event that a dialect cannot say must not hold up all others
                log.exception("webhooks.render_failed", dialect=dialect, event_id=event.id)
                continue
            if rendered is not None:
                body = json.dumps(rendered[1], ensure_ascii=False, separators=(",", ":"))
                found.append(Telling(event, dialect, rendered[0], body))
        return found

    async def _commit(
        self, reached: int, tellings: list[Telling], endpoints: Mapping[str, list[WebhookEndpoint]]
    ) -> None:
        held = self._held
        assert held is not None
        pairs = [(told, row.id) for told in tellings for row in endpoints[told.event.account_id] if _matches(row, told)]
        crowded = await self._crowded(pairs, endpoints)

        def decide(tx: Transaction) -> tuple[WebhookCursor, int]:
            row = tx.get(WebhookCursor, CURSOR)
            if row is None or not row.held_by(held.holder, held.fence):
                raise LeaseLost(CURSOR)
            for told, endpoint_id in pairs:
                _add(tx, told, endpoint_id)
            for old in crowded:
                give_up(tx, old.id, "more events were pending for the endpoint than are kept; the oldest went")
            row = replace(row.renewed(tx.now, int(LEASE_S * SECOND)), seq=reached)
            tx.put(row)
            return row, len(pairs)

        loads: list[Load] = [Get(WebhookCursor, CURSOR)]
        loads += [Get(WebhookEndpoint, endpoint_id) for endpoint_id in dict.fromkeys(id for _, id in pairs)]
        loads += [Get(Lane, lane_id(endpoint_id, told.event.subject_id)) for told, endpoint_id in pairs]
        loads += [load for old in crowded for load in (Get(Delivery, old.id), Get(Lane, old.lane))]
        before = self._core.clock.monotonic()
        self._held, added = await self._core.store.run(UnitOfWork(ALL, loads, decide))
        self._saved_at = before
        if added:
            self._core.bus.notify(Topic.WEBHOOKS)

    async def _crowded(
        self, pairs: list[tuple[Telling, str]], endpoints: Mapping[str, list[WebhookEndpoint]]
    ) -> list[Delivery]:
        """The oldest deliveries of endpoints that have too many, as many as come to them now."""
        more: dict[str, int] = {}
        for _, endpoint_id in pairs:
            more[endpoint_id] = more.get(endpoint_id, 0) + 1
        found = []
        for row in (row for rows in endpoints.values() for row in rows if row.id in more):
            if (excess := row.pending + more[row.id] - self._most_pending) > 0:
                found += await self._core.store.webhooks.oldest(row.id, excess)
        return found


def _matches(row: WebhookEndpoint, told: Telling) -> bool:
    return row.dialect == told.dialect and row.wants(told.event_type, told.event.at)


def _add(tx: Transaction, told: Telling, endpoint_id: str) -> None:
    """One delivery at the end of its lane. The endpoint may have been switched off or deleted meanwhile."""
    endpoint = tx.get(WebhookEndpoint, endpoint_id)
    if endpoint is None or not _matches(endpoint, told):
        return
    event, id = told.event, lane_id(endpoint_id, told.event.subject_id)
    tx.put(
        Delivery(
            str(tx.ids.uuid7()), event.account_id, endpoint_id, event.subject_id, id, event.seq, event.id,
            told.event_type, told.body, tx.now,
        )
    )  # fmt: skip
    lane = tx.get(Lane, id)
    tx.put(lane.joined() if lane is not None else Lane(id, endpoint_id, tx.now, 1))
    tx.put(endpoint.expecting(1, tx.now))


def give_up(tx: Transaction, id: str, error: str) -> None:
    """Fail a pending delivery before its time; its lane goes on without it."""
    row = tx.get(Delivery, id)
    if row is None or row.done_at is not None:
        return
    tx.put(row.failed(error, tx.now))
    leave_lane(tx, row)
    endpoint = tx.get(WebhookEndpoint, row.endpoint_id)
    if endpoint is not None:
        tx.put(endpoint.settled())


def leave_lane(tx: Transaction, row: Delivery) -> None:
    """A delivery that ended makes room for the next of its lane, which is due at once."""
    lane = tx.get(Lane, row.lane)
    if lane is None or lane.pending <= 1:
        tx.delete(Lane, row.lane)
    else:
        tx.put(replace(lane, pending=lane.pending - 1, due_at=tx.now))
