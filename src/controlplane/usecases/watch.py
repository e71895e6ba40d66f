"""Watch: one hub per process tails the event log and hands serialized events to every stream.

An event is serialized once, by the commit that made it; its resume token is appended once per event. A stream that
keeps up gets every event. One that does not never grows a queue: beyond MAX_PENDING it keeps only the newest event of
each instance, says so in the message, and its tokens stay behind the oldest event it has not delivered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from itertools import islice

import structlog

from controlplane.domain.errors import OutOfRange, PlaneError, not_found
from controlplane.domain.events import Event, EventKind
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation
from controlplane.domain.principal import Principal
from controlplane.ports.bus import Bus, Topic
from controlplane.ports.store import Store
from controlplane.usecases.keys import KeyAuthenticator
from controlplane.usecases.messages import StreamMessages
from controlplane.usecases.tokens import Tokens

log = structlog.get_logger()

MAX_PENDING = 256  # events queued for one stream before they are coalesced
RECENT = 10_000  # events kept in memory for streams that resume
PAGE = 1000  # events handed out before others may go on
BOOKMARK_S = 15.0
POLL_S = 1.0
KEY_CHECK_S = 0.5


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

    def __init__(self, account_id: str, subject_id: str, key_id: str) -> None:
        self.account_id = account_id
        self.subject_id = subject_id  # empty: the account's instances and budgets
        self.key_id = key_id
        self.ended: tuple[str, str] | None = None
        self._queue: deque[Pending] = deque()
        self._limit = MAX_PENDING
        self._wake = asyncio.Event()

    def push(self, entry: Entry) -> None:
        """Queue an event; never blocks, never grows past what coalescing leaves."""
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


class EventHub:
    """Tails the log and fans out."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        tokens: Tokens,
        messages: StreamMessages,
        authenticator: KeyAuthenticator,
    ) -> None:
        self._store = store
        self._bus = bus
        self.tokens = tokens
        self.messages = messages
        self._authenticator = authenticator
        self._position = 0
        self._recent: deque[Entry] = deque(maxlen=RECENT)
        self._by_subject: dict[str, dict[int, Subscription]] = {}
        self._by_account: dict[str, dict[int, Subscription]] = {}
        self._stopping = False
        self._pumping = asyncio.Lock()

    async def start(self) -> None:
        """Begin at the present end of the log, remembering the last of it: streams come back after a restart."""
        self._position = (await self._store.window()).newest
        for event in await self._store.events(max(0, self._position - RECENT), RECENT):
            self._recent.append(Entry(event))
            self._position = event.seq

    async def run(self) -> None:
        """Follow the log until cancelled. A lost wake-up costs at most POLL_S."""
        waiter = self._bus.waiter(Topic.EVENTS)
        while True:
            await waiter.wait(POLL_S)
            try:
                await self.pump()
            except PlaneError as error:
                log.warning("watch.log_unreadable", error=str(error))
                await asyncio.sleep(POLL_S)

    async def pump(self) -> None:
        """Hand out everything that was committed since the last time."""
        async with self._pumping:
            while events := await self._store.events(self._position, PAGE):
                if events[0].seq != self._position + 1:
                    self._resync(self._all())  # retention overtook us
                    self._recent.clear()
                for event in events:
                    entry = Entry(event)
                    self._recent.append(entry)
                    self._position = event.seq
                    for subscription in self._concerned(event):
                        subscription.push(entry)

    def _concerned(self, event: Event) -> list[Subscription]:
        found = list(self._by_subject.get(event.subject_id, {}).values())
        if event.kind is not EventKind.OPERATION:
            found += self._by_account.get(event.account_id, {}).values()
        return found

    async def watch_keys(self) -> None:
        """End the streams of keys that no longer work, until cancelled."""
        while True:
            await asyncio.sleep(KEY_CHECK_S)
            for key_id in sorted({s.key_id for s in self._all()}):
                try:
                    if await self._authenticator.still_works(key_id):
                        continue
                except PlaneError:
                    continue
                for subscription in self._all():
                    if subscription.key_id == key_id:
                        subscription.end("KEY_REVOKED", "the key was revoked or has expired")

    def _all(self) -> list[Subscription]:
        groups = [*self._by_subject.values(), *self._by_account.values()]
        return [subscription for group in groups for subscription in group.values()]

    @staticmethod
    def _resync(subscriptions: list[Subscription]) -> None:
        for subscription in subscriptions:
            subscription.end("RESYNC", "events were missed that are no longer kept; list again")

    def stop(self) -> None:
        """End every stream in band, and every new one at once."""
        self._stopping = True
        for subscription in self._all():
            subscription.end("SERVER_STOPPING", "the server stops; connect again with the last resume token")

    @property
    def streams(self) -> int:
        """Streams open now."""
        return len(self._all())

    async def resume_point(self, account_id: str, token: str) -> int:
        """The sequence after which a stream begins; raises OutOfRange when the log no longer reaches back."""
        window = await self._store.window()
        if not token:
            return window.newest
        seq = self.tokens.read_resume(token, account_id)
        if seq < window.oldest - 1 or seq > window.newest:
            raise OutOfRange("resume_token lies outside the retained events; list again", oldest=window.oldest, got=seq)
        return seq

    async def subscribe(self, caller: Principal, subject_id: str, after: int) -> Subscription:
        """A stream's place, caught up to the hub's position. Close it with `unsubscribe`."""
        subscription = Subscription(caller.account_id, subject_id, caller.key_id)
        await self.pump()
        while True:
            oldest = self._recent[0].event.seq if self._recent else self._position + 1
            if after < min(oldest - 1, self._position):
                # Too old for memory: read the log.
                events = await self._store.events(after, PAGE)
                if events and events[0].seq != after + 1:
                    self._resync([subscription])
                entries = [Entry(event) for event in events if event.seq <= self._position]
                after = events[-1].seq if events else self._position
            else:
                # Numbers have no gaps, so their difference says how many of the newest are missing.
                entries = list(islice(reversed(self._recent), self._position - after))[: -PAGE - 1 : -1]
                after = entries[-1].event.seq if entries else self._position
            for entry in entries:
                if self._matches(subscription, entry.event):
                    subscription.push(entry)
            if after >= self._position:
                break  # from here to the registration nothing awaits, so nothing can slip between
            await asyncio.sleep(0)  # let others go on: neither memory nor SQLite does
        group = self._by_subject if subject_id else self._by_account
        group.setdefault(subject_id or caller.account_id, {})[id(subscription)] = subscription
        if self._stopping:
            subscription.end("SERVER_STOPPING", "the server stops; connect again with the last resume token")
        return subscription

    @staticmethod
    def _matches(subscription: Subscription, event: Event) -> bool:
        if subscription.subject_id:
            return event.subject_id == subscription.subject_id
        return event.account_id == subscription.account_id and event.kind is not EventKind.OPERATION

    def unsubscribe(self, subscription: Subscription) -> None:
        """Let go of a stream's place."""
        group = self._by_subject if subscription.subject_id else self._by_account
        key = subscription.subject_id or subscription.account_id
        members = group.get(key, {})
        members.pop(id(subscription), None)
        if not members:
            group.pop(key, None)

    @property
    def position(self) -> int:
        """The sequence up to which everything was handed out."""
        return self._position

    def instance_wire(self, subscription: Subscription, pending: Pending) -> bytes:
        """The bytes of one InstanceEvent. Shared by all streams unless coalesced."""
        entry, event = pending.entry, pending.entry.event
        safe = subscription.safe_seq(event.seq)
        if pending.coalesced or safe != event.seq:
            token = self.tokens.resume(event.account_id, safe)
            return event.body + self.messages.suffix(token, coalesced=pending.coalesced)
        if entry.wire is None:
            entry.wire = event.body + self.messages.suffix(
                self.tokens.resume(event.account_id, event.seq), coalesced=False
            )
        return entry.wire


async def watch_instances(hub: EventHub, caller: Principal, resume_token: str) -> AsyncIterator[bytes]:
    """Every change of the account's instances, and its budget alerts."""
    after = await hub.resume_point(caller.account_id, resume_token)
    subscription = await hub.subscribe(caller, "", after)
    try:
        # A first bookmark at once: the client has a token, and proxies have something to send on.
        yield hub.messages.bookmark(hub.tokens.resume(caller.account_id, after))
        async for message in _instance_stream(hub, subscription, after):
            yield message
    finally:
        hub.unsubscribe(subscription)


async def watch_instance(
    hub: EventHub, store: Store, caller: Principal, id: str, resume_token: str
) -> AsyncIterator[bytes]:
    """One instance, from a snapshot (or a token) to its end."""
    row = await _instance(store, caller, id)
    owner = replace(caller, account_id=row.account_id)  # whose events and tokens they are, also for an operator
    after = await hub.resume_point(owner.account_id, resume_token)
    row = await _instance(store, caller, id)
    stored = await store.message(caller.scope, Instance, id) or b""
    subscription = await hub.subscribe(owner, id, after)
    try:
        seen = 0
        if not resume_token:
            # Read after `after` was fixed: events up to this revision may still come and are skipped.
            seen = row.revision
            yield hub.messages.snapshot(stored, hub.tokens.resume(row.account_id, after))
            if row.settled:
                yield hub.messages.end("DONE", "the instance has ended", hub.tokens.resume(row.account_id, after))
                return
        elif row.settled and subscription.idle:
            yield hub.messages.end("DONE", "the instance has ended", resume_token)
            return
        async for message in _instance_stream(hub, subscription, after, seen):
            yield message
    finally:
        hub.unsubscribe(subscription)


async def _instance(store: Store, caller: Principal, id: str) -> Instance:
    row = await store.get(caller.scope, Instance, id)
    if row is None:
        raise not_found("instance", id)
    return row


async def _instance_stream(
    hub: EventHub, subscription: Subscription, delivered: int, seen_revision: int = 0
) -> AsyncIterator[bytes]:
    while True:
        position = hub.position
        pending = await subscription.next(BOOKMARK_S)
        if pending is not None:
            event = pending.entry.event
            delivered = max(delivered, event.seq)
            if subscription.subject_id and event.revision <= seen_revision:
                continue
            yield hub.instance_wire(subscription, pending)
            if event.final and subscription.subject_id:
                token = hub.tokens.resume(event.account_id, event.seq)
                yield hub.messages.end("DONE", "the instance has ended", token)
                return
        elif subscription.ended is not None:
            token = hub.tokens.resume(subscription.account_id, delivered)
            yield hub.messages.end(*subscription.ended, token)
            return
        else:
            delivered = max(delivered, position)
            yield hub.messages.bookmark(hub.tokens.resume(subscription.account_id, delivered))


async def watch_operation(hub: EventHub, store: Store, caller: Principal, id: str) -> AsyncIterator[bytes]:
    """One operation, from now to its end."""
    after = await hub.resume_point(caller.account_id, "")
    row = await store.get(caller.scope, Operation, id)
    if row is None:
        raise not_found("operation", id)
    stored = await store.message(caller.scope, Operation, id) or b""
    subscription = await hub.subscribe(caller, id, after)
    try:
        yield hub.messages.operation_snapshot(stored)
        done = row.done
        while not done:
            pending = await subscription.next(BOOKMARK_S)
            if pending is not None:
                event = pending.entry.event
                if event.revision > row.revision:
                    yield event.body + (hub.messages.coalesced_operation if pending.coalesced else b"")
                    done = event.final
            elif subscription.ended is not None:
                yield hub.messages.operation_end(*subscription.ended)
                return
            else:
                yield hub.messages.operation_bookmark
        yield hub.messages.operation_end("DONE", "the operation is done")
    finally:
        hub.unsubscribe(subscription)


async def wait_operation(hub: EventHub, store: Store, caller: Principal, id: str, timeout_s: float) -> bytes:
    """The operation as soon as it is done, or as it is when time ran out."""
    after = await hub.resume_point(caller.account_id, "")
    row = await store.get(caller.scope, Operation, id)
    if row is None:
        raise not_found("operation", id)
    if not row.done:
        subscription = await hub.subscribe(caller, id, after)
        try:
            async with asyncio.timeout(timeout_s):
                while subscription.ended is None:
                    pending = await subscription.next(timeout_s)
                    if pending is not None and pending.entry.event.final:
                        break
        except TimeoutError:
            pass
        finally:
            hub.unsubscribe(subscription)
    return await store.message(caller.scope, Operation, id) or b""
