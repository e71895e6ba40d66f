"""The real clock and the real randomness."""

from __future__ import annotations

import asyncio
import os
import random
import time
from uuid import UUID

import uuid_utils


class SystemClock:
    """Clock of this machine."""

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after that long."""
        await asyncio.sleep(seconds)


class SystemIds:
    """Identifiers and entropy from the operating system."""

    def uuid7(self) -> UUID:
        """A new UUIDv7."""
        return UUID(int=uuid_utils.uuid7().int)

    def entropy(self, size: int) -> bytes:
        """Random bytes fit for secrets."""
        return os.urandom(size)

    def jitter(self) -> float:
        """A random fraction for back-off; not for secrets."""
        return random.random()
