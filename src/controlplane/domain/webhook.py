"""Webhooks: where an account wants its events told, and what became of each telling."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controlplane.domain.billing import SECOND
from controlplane.domain.records import replace
from controlplane.domain.work import Leased

NEVER = 2**63 - 1
KEPT_ATTEMPTS = 20

SLOWEST_PACE_S = 5.0
"""Between two attempts at a receiver that fails, whatever is pending for it."""


@dataclass(frozen=True, slots=True)
class WebhookEndpoint(Leased):
    """A receiver of events, in the words of one dialect. `secret` is sealed; receivers check signatures by it.

    It is the unit of work, too: the process that holds it sends all its deliveries. `due_at` is when the first of
    them may go (NEVER: none is pending), `failures` how many attempts in a row failed.
    """

    id: str  # a UUID
    account_id: str
    dialect: str
    url: str
    event_types: tuple[str, ...]
    secret: str
    enabled: bool
    created_at: int
    pending: int = 0  # deliveries that are neither delivered nor failed
    due_at: int = NEVER
    holder: str = ""
    fence: int = 0
    lease_until: int = 0
    failures: int = 0

    def wants(self, event_type: str, at: int) -> bool:
        """Whether an event of that time is told to it: it gets those since its creation, while enabled."""
        return self.enabled and at >= self.created_at and event_type in self.event_types

    def pace(self) -> int:
        """How long to leave a failing receiver alone, in microseconds: a dead one costs an attempt now and then,
        however much is pending for it."""
        return int(min(SLOWEST_PACE_S, 0.1 * 2 ** min(self.failures - 1, 10)) * SECOND) if self.failures else 0

    def expecting(self, more: int, now: int) -> WebhookEndpoint:
        """With so many more deliveries, due as soon as its pace allows."""
        return replace(self, pending=self.pending + more, due_at=min(self.due_at, now + self.pace()))

    def settled(self, count: int = 1) -> WebhookEndpoint:
        """With so many deliveries less."""
        return replace(self, pending=max(0, self.pending - count))

    @property
    def deleted(self) -> bool:
        """Nobody's any more; the row stays until its deliveries are removed."""
        return not self.account_id

    def forgotten(self) -> WebhookEndpoint:
        """Deleted, out of everybody's sight; whoever holds it loses the hold."""
        return replace(self, account_id="", enabled=False, due_at=NEVER, holder="", lease_until=0, fence=self.fence + 1)


class DeliveryState(StrEnum):
    """How far a delivery is."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try. `status` is the receiver's answer, 0 if there was none; `error` says why not; both words are ours."""

    at: int
    status: int
    error: str
    ms: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint. `event_id` is the same for all endpoints and attempts. `tries` counts those since it
    became pending; `attempts` keeps the last few of all."""

    id: str  # a UUIDv7
    account_id: str
    endpoint_id: str
    subject_id: str  # the instance
    lane: str
    seq: int  # of the event
    event_id: str
    event_type: str
    body: str
    created_at: int
    state: DeliveryState = DeliveryState.PENDING
    tries: int = 0
    attempts: tuple[Attempt, ...] = ()
    done_at: int | None = None
    error: str = ""  # why it failed for good

    def tried(self, attempt: Attempt, now: int, schedule: tuple[float, ...]) -> Delivery:
        """After an attempt: delivered, still pending, or failed when the schedule has no further pause."""
        row = replace(self, tries=self.tries + 1, attempts=(*self.attempts, attempt)[-KEPT_ATTEMPTS:])
        if 200 <= attempt.status < 300:
            return replace(row, state=DeliveryState.DELIVERED, done_at=now)
        if row.tries > len(schedule):
            return row.failed(f"no success in {row.tries} attempts", now)
        return row

    def failed(self, error: str, now: int) -> Delivery:
        """Given up."""
        return replace(self, state=DeliveryState.FAILED, done_at=now, error=error)

    def again(self) -> Delivery:
        """Pending anew, with the whole schedule before it. It waits for no other and no other waits for it."""
        return replace(
            self, state=DeliveryState.PENDING, tries=0, done_at=None, error="", lane=lane_id(self.endpoint_id, self.id)
        )


def retry_pause(schedule: tuple[float, ...], tries: int, jitter: float) -> int:
    """Microseconds from the attempt of that number, the first being 1, to the next: up to a tenth later than the
    schedule says, so that what failed together does not come back together."""
    return int(schedule[tries - 1] * (1 + jitter / 10) * SECOND)


def lane_id(endpoint_id: str, subject_id: str) -> str:
    """Id of a lane."""
    return f"{endpoint_id}/{subject_id}"


@dataclass(frozen=True, slots=True)
class Lane:
    """The pending deliveries of one endpoint about one instance: they go one after the other, by `seq`. `due_at` is
    when the first of them may go. An empty lane has no row."""

    id: str
    endpoint_id: str
    due_at: int
    pending: int

    def joined(self) -> Lane:
        """With one more at its end."""
        return replace(self, pending=self.pending + 1)


@dataclass(frozen=True, slots=True)
class WebhookCursor(Leased):
    """How far the event log was read for webhooks, and who reads it."""

    id: str = "events"
    seq: int = 0
    due_at: int = 0
    holder: str = ""
    fence: int = 0
    lease_until: int = 0
    failures: int = 0
