"""Wake-ups. A lost one costs latency, never work: everybody who waits also polls."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Topic(StrEnum):
    """What somebody may wait for."""

    EVENTS = "events"  # the event log grew
    WORK = "work"  # a work item became due
    WEBHOOKS = "webhooks"  # a delivery became due


class Waiter(Protocol):
    """One party's ear on a topic; it misses nothing between two waits."""

    async def wait(self, timeout_s: float) -> bool:
        """Return True on a wake-up since the last wait, False when time ran out."""
        ...


class Bus(Protocol):
    """Wake-ups within a deployment."""

    def notify(self, topic: Topic) -> None:
        """Wake everybody who waits for the topic, and those who are about to."""
        ...

    def waiter(self, topic: Topic) -> Waiter:
        """A new ear."""
        ...
