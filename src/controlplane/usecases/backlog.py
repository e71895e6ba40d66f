"""The past of the event log, for streams that resume: the newest of it in memory, the rest read once for all."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from controlplane.domain.events import EventKind
from controlplane.ports.store import Store
from controlplane.usecases.subscriptions import Entry, Subscription, Subscriptions

T = TypeVar("T")

RECENT = 10_000  # events kept in memory
PAGE = 1000  # events handed out before others may go on
GATHER_S = 0.2
"""How long a pass over the log waits for more streams: those that come back after a cut are not accepted in one moment,
and each pass that begins without them is one more."""


class Shared(Generic[T]):
    """Does a work once for all who ask in the same moment. Who asks while it is being done gets the outcome of the next
    time, which begins after the asking: never a stale one."""

    def __init__(self, work: Callable[[], Awaitable[T]], gather_s: float = 0.0) -> None:
        self._work = work
        self._gather_s = gather_s
        self._next: asyncio.Task[T] | None = None
        self._turn = asyncio.Lock()

    async def __call__(self) -> T:
        """The outcome of a run that begins after this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._run(), name="shared-read")
        return await asyncio.shield(self._next)  # one who leaves does not end it for the others

    async def _run(self) -> T:
        async with self._turn:
            await asyncio.sleep(self._gather_s)
            self._next = None
            return await self._work()


class Recent:
    """The newest events, in order, and by whom they concern: a stream that resumes finds its own at once."""

    def __init__(self, limit: int = RECENT) -> None:
        self._limit = limit
        self._all: deque[Entry] = deque()
        self._by_subject: dict[str, list[Entry]] = {}
        self._by_account: dict[str, list[Entry]] = {}

    def append(self, entry: Entry) -> None:
        """Remember the newest event; the oldest is forgotten for it."""
        self._all.append(entry)
        for index, key in self._places(entry):
            index.setdefault(key, []).append(entry)
        if len(self._all) > self._limit:
            oldest = self._all.popleft()
            for index, key in self._places(oldest):
                del index[key][0]
                if not index[key]:
                    del index[key]

    def _places(self, entry: Entry) -> list[tuple[dict[str, list[Entry]], str]]:
        event = entry.event
        places = [(self._by_subject, event.subject_id)]
        if event.kind is not EventKind.OPERATION:
            places.append((self._by_account, event.account_id))
        return places

    def clear(self) -> None:
        """Forget all."""
        for held in (self._all, self._by_subject, self._by_account):
            held.clear()

    def floor(self, position: int) -> int:
        """Every event above this sequence is here; `position` is where the log ends."""
        return self._all[0].event.seq - 1 if self._all else position

    def after(self, subscription: Subscription) -> list[Entry]:
        """The next PAGE events that concern a stream and that it has not seen."""
        if subscription.subject_id:
            found = self._by_subject.get(subscription.subject_id, [])
        else:
            found = self._by_account.get(subscription.account_id, [])
        first = bisect_right(found, subscription.seen, key=lambda entry: entry.event.seq)
        return found[first : first + PAGE]


class Replay:
    """Reads the log for streams whose past is not in memory: one pass over it serves all that wait. After a cut all of
    them come back at once, and a pass of its own for each would read the same events thousands of times."""

    def __init__(self, store: Store, floor: Callable[[], int]) -> None:
        self._store = store
        self._floor = floor  # from where on memory has the events
        self._waiting: list[Subscription] = []
        self._pass = Shared(self._read, GATHER_S)

    async def catch_up(self, subscription: Subscription) -> None:
        """Queue what a stream missed, up to what memory has."""
        self._waiting.append(subscription)
        await self._pass()

    async def _read(self) -> None:
        taken, self._waiting = self._waiting, []
        waiting = Subscriptions()
        for subscription in taken:
            waiting.add(subscription)
        position = min(subscription.seen for subscription in taken)
        clock = asyncio.get_running_loop().time
        while position < (floor := self._floor()):
            began = clock()
            events = await self._store.events(position, PAGE)
            first = events[0].seq if events else floor + 1
            if first != position + 1:  # retention overtook us
                for subscription in taken:
                    if subscription.seen < first - 1:
                        subscription.resync()
            for event in events:
                entry = Entry(event)
                for subscription in waiting.concerned(event):
                    if subscription.seen < event.seq:
                        subscription.push(entry)
            position = events[-1].seq if events else floor
            for subscription in taken:
                subscription.seen = max(subscription.seen, position)
            await asyncio.sleep(clock() - began)  # half of the time is the others': SQLite reads on this thread
