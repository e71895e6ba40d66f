"""A stream's place in the event log: what waits to be sent to it, and who is concerned by an event.

A stream that keeps up gets every event. One that does not never grows a queue: beyond MAX_PENDING it keeps only the
newest event of each instance, says so in the message, and its tokens stay behind the oldest event it has not delivered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from controlplane.domain.events import Event, EventKind

MAX_PENDING = 256  # events queued for one stream before they are coalesced


class Entry:
    """An event in the hub, with its wire form once somebody needed it."""

    __slots__ = ("event", "wire")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.wire: bytes | None = None


@dataclass(slots=True)
class Pending:
    """The newest undelivered event of one subject, and the sequence of the oldest it stands for."""

    entry: Entry
    first_seq: int
    floor: int  # the lowest first_seq from here to the queue's end
    coalesced: bool = False


class Subscription:
    """One stream's place in the log."""

    def __init__(self, account_id: str, subject_id: str, key_id: str, after: int) -> None:
        self.account_id = account_id
        self.subject_id = subject_id  # empty: the account's instances and budgets
        self.key_id = key_id  # that it ends with; empty: it ends with none
        self.seen = after  # every event up to here that concerns it was queued
        self.ended: tuple[str, str] | None = None
        self._queue: deque[Pending] = deque()
        self._limit = MAX_PENDING
        self._wake = asyncio.Event()

    def push(self, entry: Entry) -> None:
        """Queue an event; never blocks, never grows past what coalescing leaves."""
        self.seen = entry.event.seq
        self._queue.append(Pending(entry, entry.event.seq, entry.event.seq))
        if len(self._queue) > self._limit:
            self._coalesce()
        self._wake.set()

    def _coalesce(self) -> None:
        newest: dict[str, Pending] = {}
        for pending in self._queue:
            subject = pending.entry.event.subject_id
            older = newest.pop(subject, None)
            first_seq = older.first_seq if older else pending.first_seq
            newest[subject] = Pending(pending.entry, first_seq, first_seq, older is not None or pending.coalesced)
        self._queue = deque(newest.values())
        floor = self._queue[-1].floor
        for pending in reversed(self._queue):
            floor = pending.floor = min(floor, pending.first_seq)
        # With many instances behind, coalesce again only once the queue has doubled: amortised constant work.
        self._limit = max(MAX_PENDING, 2 * len(self._queue))

    def end(self, reason: str, message: str) -> None:
        """Let the stream stop after what is queued."""
        self.ended = self.ended or (reason, message)
        self._wake.set()

    def resync(self) -> None:
        """End it because events between its place and the next one are no longer kept."""
        self.end("RESYNC", "events were missed that are no longer kept; list again")

    async def next(self, timeout_s: float) -> Pending | None:
        """The next event; None when time ran out or the stream was ended."""
        if not self._queue and self.ended is None:
            self._wake.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._wake.wait()
            except TimeoutError:
                return None
        return self._queue.popleft() if self._queue else None

    @property
    def idle(self) -> bool:
        """Nothing is queued."""
        return not self._queue

    def safe_seq(self, delivered: int) -> int:
        """How far a token may reach: not past the oldest undelivered event."""
        return min(delivered, self._queue[0].floor - 1) if self._queue else delivered


class Subscriptions:
    """Streams by what they follow."""

    def __init__(self) -> None:
        self._by_subject: dict[str, dict[int, Subscription]] = {}
        self._by_account: dict[str, dict[int, Subscription]] = {}

    def __iter__(self) -> Iterator[Subscription]:
        groups = [*self._by_subject.values(), *self._by_account.values()]
        return iter([subscription for group in groups for subscription in group.values()])

    def concerned(self, event: Event) -> list[Subscription]:
        """Whom an event is for."""
        found = list(self._by_subject.get(event.subject_id, {}).values())
        if event.kind is not EventKind.OPERATION:
            found += self._by_account.get(event.account_id, {}).values()
        return found

    def add(self, subscription: Subscription) -> None:
        """Take a stream in."""
        groups, key = self._place(subscription)
        groups.setdefault(key, {})[id(subscription)] = subscription

    def remove(self, subscription: Subscription) -> None:
        """Let go of a stream, if it is there."""
        groups, key = self._place(subscription)
        members = groups.get(key, {})
        members.pop(id(subscription), None)
        if not members:
            groups.pop(key, None)

    def _place(self, subscription: Subscription) -> tuple[dict[str, dict[int, Subscription]], str]:
        if subscription.subject_id:
            return self._by_subject, subscription.subject_id
        return self._by_account, subscription.account_id
