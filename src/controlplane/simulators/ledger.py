"""What machines cost by the marketplace's own clock: exact integers, the reference that a control plane's idea of its
bill is measured against.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_US_PER_HOUR = 3_600_000_000


@dataclass(slots=True)
class Span:
    """A stretch of time, in epoch seconds; its end may lie in the future, or nowhere."""

    start: float
    end: float = math.inf

    def holds(self, at: float) -> bool:
        """Whether `at` lies within."""
        return self.start <= at < self.end

    def close(self, at: float) -> None:
        """End it at `at` at the latest; one that has not begun never will."""
        self.end = min(self.end, max(at, self.start)) if at >= self.start else self.start


def elapsed_s(spans: Iterable[Span], now: float) -> float:
    """Seconds of all spans up to `now`."""
    return sum(max(0.0, min(span.end, now) - span.start) for span in spans)


def cost_nano(nano_per_hour: int, seconds: float) -> int:
    """Price of so many seconds, to the microsecond, rounded down to a nano-dollar."""
    return nano_per_hour * round(seconds * 1e6) // _US_PER_HOUR


@dataclass(frozen=True, slots=True)
class Bill:
    """One machine's account so far: seconds at full price, and nano-dollars in all."""

    running_s: float
    billed_nano: int
