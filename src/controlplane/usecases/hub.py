"""The hub: one per process tails the event log and hands serialized events to every stream.

An event is serialized once, by the commit that made it; its resume token is appended once per event.
"""

from __future__ import annotations

import asyncio

import structlog

from controlplane.domain.errors import OutOfRange, PlaneError
from controlplane.domain.principal import Principal
from controlplane.ports.bus import Bus, Topic
from controlplane.ports.store import LogWindow, Store
from controlplane.usecases.backlog import PAGE, RECENT, Recent, Replay, Shared
from controlplane.usecases.keys import KeyAuthenticator
from controlplane.usecases.messages import StreamMessages
from controlplane.usecases.subscriptions import Entry, Pending, Subscription, Subscriptions
from controlplane.usecases.tokens import Tokens

log = structlog.get_logger()

POLL_S = 1.0
KEY_CHECK_S = 0.5
OPENING = 64
"""Streams whose opening reads the store at the same time. After a cut thousands come back at once: they wait here for
as long as they like, not in the store's own queue, whose patience ends, and other calls' reads go between them."""


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
        self._recent = Recent()
        self._replay = Replay(store, self._floor)
        self._open = Subscriptions()
        self._stopping = False
        self._pumping = asyncio.Lock()
        self._look = Shared(self._catch_up)
        self.opening = asyncio.Semaphore(OPENING)

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
                if events[0].seq != self._position + 1:  # retention overtook us
                    for subscription in self._open:
                        subscription.resync()
                    self._recent.clear()
                for event in events:
                    entry = Entry(event)
                    self._recent.append(entry)
                    self._position = event.seq
                    for subscription in self._open.concerned(event):
                        subscription.push(entry)

    async def _catch_up(self) -> LogWindow:
        window = await self._store.window()
        if self._position < window.newest:
            await self.pump()
        return window

    async def watch_keys(self) -> None:
        """End the streams of keys that no longer work, until cancelled."""
        while True:
            await asyncio.sleep(KEY_CHECK_S)
            for key_id in sorted({s.key_id for s in self._open if s.key_id}):
                try:
                    if await self._authenticator.still_works(key_id):
                        continue
                except PlaneError:
                    continue
                for subscription in self._open:
                    if subscription.key_id == key_id:
                        subscription.end("KEY_REVOKED", "the key was revoked or has expired")

    def stop(self) -> None:
        """End every stream in band, and every new one at once."""
        self._stopping = True
        for subscription in self._open:
            self._say_goodbye(subscription)

    @staticmethod
    def _say_goodbye(subscription: Subscription) -> None:
        subscription.end("SERVER_STOPPING", "the server stops; connect again with the last resume token")

    @property
    def streams(self) -> int:
        """Streams open now."""
        return sum(1 for _ in self._open)

    async def resume_point(self, account_id: str, token: str) -> int:
        """The sequence after which a stream begins; raises OutOfRange when the log no longer reaches back. The hub has
        then handed out all that was committed before this call."""
        window = await self._look()
        if not token:
            return window.newest
        seq = self.tokens.read_resume(token, account_id)
        if seq < window.oldest - 1 or seq > window.newest:
            raise OutOfRange("resume_token lies outside the retained events; list again", oldest=window.oldest, got=seq)
        return seq

    async def subscribe(self, caller: Principal, subject_id: str, after: int) -> Subscription:
        """A stream's place, caught up to the hub's position. Close it with `unsubscribe`."""
        subscription = Subscription(caller.account_id, subject_id, caller.key_id, after)
        while True:
            if subscription.seen < self._floor():
                await self._replay.catch_up(subscription)
                continue
            entries = self._recent.after(subscription)
            for entry in entries:
                subscription.push(entry)
            if len(entries) < PAGE:
                break  # from here to the registration nothing awaits, so nothing can slip between
            await asyncio.sleep(0)
        self._open.add(subscription)
        if self._stopping:
            self._say_goodbye(subscription)
        return subscription

    def _floor(self) -> int:
        return self._recent.floor(self._position)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Let go of a stream's place."""
        self._open.remove(subscription)

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
