"""What one key may do at once and per second, in this process."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from controlplane.domain.errors import ResourceExhausted
from controlplane.domain.ratelimit import RateLimiter, RateState


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one key: the settings."""

    calls_per_second: float = 100.0
    calls_burst: int = 200
    streams: int = 10_000


class KeyLimits:
    """Counts per key. Used on the loop's thread only."""

    __slots__ = ("_calls", "_clock", "_limits", "_opens", "_streams")

    def __init__(self, limits: Limits, clock: Callable[[], float] = monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._calls = RateLimiter(limits.calls_per_second, limits.calls_burst)
        # Streams are opened all at once after a restart or a cut connection: their burst is their number.
        self._opens = RateLimiter(limits.calls_per_second, max(limits.calls_burst, limits.streams))
        self._streams: dict[str, int] = {}

    def share_among(self, processes: int) -> None:
        """Take this process's part of each key's rate: calls are spread evenly over that many processes."""
        calls, burst = self._limits.calls_per_second / processes, max(1, self._limits.calls_burst // processes)
        if (calls, burst) != (self._calls.rate, self._calls.burst):
            self._calls = RateLimiter(calls, burst)
            self._opens = RateLimiter(calls, max(burst, self._limits.streams))

    def charge_call(self, key_id: str) -> None:
        """Count one unary call."""
        wait = self._calls.take(key_id, self._clock())
        if wait:
            raise _too_fast("calls", self._limits.calls_per_second, wait)

    def state(self, key_id: str) -> RateState:
        """How the key stands with its unary calls, as this process sees it."""
        return self._calls.state(key_id, self._clock())

    def open_stream(self, key_id: str) -> None:
        """Count a stream in. `close_stream` must follow, unless this raises."""
        wait = self._opens.take(key_id, self._clock())
        if wait:
            raise _too_fast("new streams", self._limits.calls_per_second, wait)
        count = self._streams.get(key_id, 0)
        if count >= self._limits.streams:
            raise ResourceExhausted(
                f"this key has {count} open streams, its limit; close some first",
                reason="QUOTA_EXCEEDED",
                resource="stream",
                limit=self._limits.streams,
            )
        self._streams[key_id] = count + 1

    def close_stream(self, key_id: str) -> None:
        """Count a stream out."""
        count = self._streams[key_id] - 1
        if count:
            self._streams[key_id] = count
        else:
            del self._streams[key_id]

    def open_streams(self, key_id: str) -> int:
        """Open streams of a key."""
        return self._streams.get(key_id, 0)


def _too_fast(what: str, rate: float, wait: float) -> ResourceExhausted:
    return ResourceExhausted(
        f"too many {what} with this key (limit {rate:g} per second); try again in {math.ceil(wait)} s",
        reason="RATE_LIMITED",
        retry_after_s=wait,
        limit=f"{rate:g}",
    )
