"""Time as a port, so that a simulation can drive it."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall and monotonic time, and sleep."""

    def now(self) -> int:
        """Wall time: microseconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for durations only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that long."""
        ...
