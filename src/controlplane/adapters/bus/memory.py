"""Wake-ups within one process."""

from __future__ import annotations

import asyncio
from itertools import count
from weakref import WeakValueDictionary

from controlplane.ports.bus import Topic


class MemoryWaiter:
    """One ear."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """A wake-up happened."""
        self._rung.set()

    async def wait(self, timeout_s: float) -> bool:
        """True on a wake-up since the last wait, False when time ran out."""
        if timeout_s > 0 and not self._rung.is_set():
            try:
                async with asyncio.timeout(timeout_s):
                    await self._rung.wait()
            except TimeoutError:
                return False
        rung = self._rung.is_set()
        self._rung.clear()
        return rung


class MemoryBus:
    """Wake-ups for the waiters of this process. Call it on the loop's thread."""

    def __init__(self) -> None:
        # By number, so that they are woken in the order in which they came.
        self._waiters: dict[Topic, WeakValueDictionary[int, MemoryWaiter]] = {
            topic: WeakValueDictionary() for topic in Topic
        }
        self._numbers = count()

    def notify(self, topic: Topic) -> None:
        """Wake everybody who waits for the topic, and those who are about to."""
        for waiter in list(self._waiters[topic].values()):
            waiter.ring()

    def waiter(self, topic: Topic) -> MemoryWaiter:
        """A new ear."""
        waiter = MemoryWaiter()
        self._waiters[topic][next(self._numbers)] = waiter
        return waiter
