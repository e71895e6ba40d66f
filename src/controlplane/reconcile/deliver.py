"""Webhook deliveries: claim endpoints that have something due, send, write down what came of it.

One process at a time sends for an endpoint, so that it alone decides the order: of each lane (one instance's events)
only the first delivery is ever under way, lanes do not wait for each other. Results are written under the endpoint's
fence. A kill between sending and writing repeats one attempt, and loses nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from controlplane.dialect import WebhookDelivery, WebhookFormat
from controlplane.domain.billing import SECOND
from controlplane.domain.errors import PlaneError
from controlplane.domain.principal import ALL
from controlplane.domain.ratelimit import RateLimiter
from controlplane.domain.records import replace
from controlplane.domain.webhook import NEVER, Attempt, Delivery, DeliveryState, Lane, WebhookEndpoint, retry_pause
from controlplane.domain.work import LeaseLost
from controlplane.ports.bus import Topic
from controlplane.ports.meter import Count
from controlplane.ports.store import Get, Transaction, UnitOfWork
from controlplane.ports.webhooks import Answer, WebhookSender
from controlplane.reconcile.fanout import leave_lane
from controlplane.usecases.core import Core
from controlplane.usecases.webhooks import SEALED

log = structlog.get_logger()

POLL_S = 1.0
LEASE_S = 6.0
RENEW_S = 2.0
IN_FLIGHT = 128  # attempts of this process at once
PER_SECOND, BURST = 50.0, 50  # attempts of this process: a backlog must not take the loop from callers
PER_ENDPOINT = 8  # of them to one receiver; a failing one gets 1


@dataclass(slots=True)
class Hold:
    """(endpoint, fence): this process's tenure. `row` is the endpoint as of the last write, `sure_until` when, without
    a renewal, another may have it, `failed` whether the last attempt under it did."""

    row: WebhookEndpoint
    sure_until: float
    failed: bool = False


class Deliverer:
    """Sends what is due until cancelled. `formats` are those of the dialects, by name."""

    def __init__(self, core: Core, holder: str, formats: Mapping[str, WebhookFormat], sender: WebhookSender) -> None:
        self._core = core
        self._holder = holder
        self._formats = formats
        self._sender = sender
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._rate = RateLimiter(PER_SECOND, BURST)
        self._turn = asyncio.Lock()  # in the order of asking
        self._active: dict[str, tuple[Hold, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Claim and send until cancelled; then let go of what is in flight."""
        waiter = self._core.bus.waiter(Topic.WEBHOOKS)
        renewing = asyncio.create_task(self._renew_all(), name="webhook-renewal")
        try:
            while True:
                try:
                    claimed = await self._claim()
                except PlaneError as error:
                    log.warning("webhooks.claim_failed", error=str(error))
                    claimed = 0
                if not claimed:
                    await waiter.wait(POLL_S)
        finally:
            renewing.cancel()
            for _, task in list(self._active.values()):
                task.cancel()

    # Holding endpoints

    async def _claim(self) -> int:
        """Take endpoints that are due; how many."""
        room = IN_FLIGHT - len(self._active)
        ids = await self._core.store.webhooks.due_endpoints(room) if room > 0 else []
        if not ids:
            return 0

        def decide(tx: Transaction) -> list[WebhookEndpoint]:
            rows = (tx.get(WebhookEndpoint, id) for id in ids)
            due = (row for row in rows if row and row.enabled and max(row.due_at, row.lease_until) <= tx.now)
            claimed = [row.claimed(self._holder, tx.now, int(LEASE_S * SECOND)) for row in due]
            for row in claimed:
                tx.put(row)
            return claimed

        sure_until = self._core.clock.monotonic() + LEASE_S
        rows = await self._core.store.run(UnitOfWork(ALL, [Get(WebhookEndpoint, id) for id in ids], decide))
        for row in rows:
            hold = Hold(row, sure_until)
            task = asyncio.create_task(self._work(hold), name=f"webhook-{row.id}")
            self._active[row.id] = (hold, task)
        return len(rows)

    async def _renew_all(self) -> None:
        while True:
            await self._core.clock.sleep(RENEW_S)
            try:
                await self._renew([hold for hold, _ in self._active.values()])
            except PlaneError as error:
                log.warning("webhooks.renewal_failed", error=str(error))
            except Exception:  # nobody awaits this task: its end would be seen by no one
                log.exception("webhooks.renewal_failed")

    async def _renew(self, holds: list[Hold]) -> None:
        def decide(tx: Transaction) -> list[Hold]:
            kept = []
            for hold in holds:
                row = tx.get(WebhookEndpoint, hold.row.id)
                if row is not None and row.enabled and row.held_by(self._holder, hold.row.fence):
                    tx.put(row.renewed(tx.now, int(LEASE_S * SECOND)))
                    kept.append(hold)
            return kept

        if holds:
            sure_until = self._core.clock.monotonic() + LEASE_S
            loads = [Get(WebhookEndpoint, hold.row.id) for hold in holds]
            for hold in await self._core.store.run(UnitOfWork(ALL, loads, decide)):
                hold.sure_until = sure_until

    async def _release(self, hold: Hold, due_in_s: float | None) -> None:
        """Let others, or ourselves later, have it: when the first lane may go, and its pace allows."""

        def decide(tx: Transaction) -> None:
            row = self._held(tx, hold)
            due_at = NEVER if due_in_s is None else tx.now + max(int(due_in_s * SECOND), row.pace())
            tx.put(replace(row.released(due_at), failures=row.failures))

        await self._core.store.run(UnitOfWork(ALL, [Get(WebhookEndpoint, hold.row.id)], decide))

    def _held(self, tx: Transaction, hold: Hold) -> WebhookEndpoint:
        row = tx.get(WebhookEndpoint, hold.row.id)
        if row is None or not row.held_by(self._holder, hold.row.fence):
            raise LeaseLost(hold.row.id)
        return row

    # Sending

    async def _work(self, hold: Hold) -> None:
        """Everything that is due for one endpoint, lanes side by side, until nothing is or the receiver fails."""
        flying: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                due_in = await self._take_off(hold, flying)
                if not flying:
                    await self._release(hold, due_in)
                    return
                done, _ = await asyncio.wait(flying.values(), timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
                for lane in [lane for lane, task in flying.items() if task in done]:
                    flying.pop(lane).result()
        except LeaseLost:
            log.info("webhooks.lease_lost", endpoint=hold.row.id)
        except PlaneError as error:
            log.warning("webhooks.store_failed", endpoint=hold.row.id, error=str(error))
        except Exception:
            log.exception("webhooks.delivery_died", endpoint=hold.row.id)
        finally:
            for task in flying.values():
                task.cancel()
            await asyncio.gather(*flying.values(), return_exceptions=True)
            if self._active.get(hold.row.id, (None,))[0] is hold:  # it may be claimed again already
                del self._active[hold.row.id]
            self._core.bus.notify(Topic.WEBHOOKS)  # there is room

    async def _take_off(self, hold: Hold, flying: dict[str, asyncio.Task[None]]) -> float | None:
        """Start what is due and has room. Seconds until the next may start; None: there is none."""
        if self._core.clock.monotonic() >= hold.sure_until:
            raise LeaseLost(hold.row.id)
        heads = await self._core.store.webhooks.heads(hold.row.id, PER_ENDPOINT) if hold.row.enabled else []
        if heads and hold.failed and not flying:
            return heads[0][0]  # let its pace pass
        width = 1 if hold.row.failures else PER_ENDPOINT
        for due_in, head in heads:
            if due_in > 0:
                return due_in
            if head.lane not in flying and len(flying) < width:
                flying[head.lane] = asyncio.create_task(self._attempt(hold, head))
        return None

    async def _attempt(self, hold: Hold, delivery: Delivery) -> None:
        form = self._formats.get(hold.row.dialect)
        schedule = form.retry_s if form else ()
        async with self._slots:
            async with self._turn:
                while wait := self._rate.take("", self._core.clock.monotonic()):
                    await self._core.clock.sleep(wait)
            if self._core.clock.monotonic() >= hold.sure_until:
                raise LeaseLost(hold.row.id)
            at, began = self._core.clock.now(), self._core.clock.monotonic()
            answer = await self._send(hold, delivery, form, at)
        tried = Attempt(at, answer.status, answer.error, int((self._core.clock.monotonic() - began) * 1000))
        row = await self._apply(hold, delivery, tried, schedule)
        if row is not None:
            outcome = "retried" if row.state is DeliveryState.PENDING else row.state.value.lower()
            self._core.meter.count(Count.WEBHOOK_ATTEMPTS, outcome)

    async def _send(self, hold: Hold, delivery: Delivery, form: WebhookFormat | None, at: int) -> Answer:
        if form is None:
            return Answer(0, f"the dialect {hold.row.dialect} is not served here")
        body, timestamp = delivery.body.encode(), at // SECOND
        try:
            secret = self._core.secrets.open(SEALED, hold.row.id, hold.row.secret)
        except ValueError:  # sealed under a master key that was lost
            return Answer(0, "the endpoint's secret cannot be read any more: make the endpoint again")
        attempt = WebhookDelivery(
            delivery.event_id, delivery.event_type, str(self._core.ids.uuid7()), timestamp,
            signature(secret, timestamp, body),
        )  # fmt: skip
        return await self._sender.send(hold.row.url, form.headers(attempt), body)

    async def _apply(
        self, hold: Hold, delivery: Delivery, tried: Attempt, schedule: tuple[float, ...]
    ) -> Delivery | None:
        """Write down an attempt; None if the delivery was given up meanwhile."""
        jitter = self._core.ids.jitter()

        def decide(tx: Transaction) -> tuple[Delivery | None, WebhookEndpoint]:
            endpoint = self._held(tx, hold)
            row = tx.get(Delivery, delivery.id)
            if row is None or row.done_at is not None:
                return None, endpoint
            row = row.tried(tried, tx.now, schedule)
            tx.put(row)
            if row.done_at is not None:
                leave_lane(tx, row)
                endpoint = endpoint.settled()
            elif (lane := tx.get(Lane, row.lane)) is not None:
                tx.put(replace(lane, due_at=tx.now + retry_pause(schedule, row.tries, jitter)))
            failures = 0 if row.state is DeliveryState.DELIVERED else endpoint.failures + 1
            endpoint = replace(endpoint, failures=failures)
            tx.put(endpoint)
            return row, endpoint

        loads = [Get(WebhookEndpoint, hold.row.id), Get(Lane, delivery.lane), Get(Delivery, delivery.id)]
        row, hold.row = await self._core.store.run(UnitOfWork(ALL, loads, decide))
        hold.failed = hold.row.failures > 0
        return row


def signature(secret: bytes, timestamp: int, body: bytes) -> str:
    """Hex HMAC-SHA256 over `<timestamp>.<body>`; the key is the secret as it was shown."""
    return hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
