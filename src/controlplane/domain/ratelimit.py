"""Token buckets, each kept as one number: the moment at which the bucket will be full again."""

from __future__ import annotations

from dataclasses import dataclass

_SWEEP_FROM = 1024


@dataclass(frozen=True, slots=True)
class RateState:
    """How a key stands: calls per second that it may make, calls it may make at once now, seconds until it may make
    its whole burst again."""

    rate: float
    remaining: int
    reset_s: float


class RateLimiter:
    """One bucket per key: `burst` tokens, refilled at `rate` per second.

    A key not seen for long has a full bucket, which is the same as no entry; such entries are dropped now and
    then, so the table is as large as the set of keys active within the time a bucket takes to fill.
    """

    __slots__ = ("_full_at", "_interval", "_slack", "_sweep_at", "burst", "rate")

    def __init__(self, rate: float, burst: int) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError(f"rate must be positive and burst at least 1; got {rate}, {burst}")
        self.rate = rate
        self.burst = burst
        self._interval = 1 / rate
        self._slack = (burst - 1) * self._interval
        self._full_at: dict[str, float] = {}
        self._sweep_at = _SWEEP_FROM

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str, now: float) -> float:
        """Take a token and return 0.0; or take none and return the seconds until there will be one."""
        full_at = self._full_at.get(key, now)
        if full_at < now:
            full_at = now
        wait = full_at - now - self._slack
        if wait > 1e-9:  # sums of intervals are not exact; a whole token is not refused for the last bit
            return wait
        self._full_at[key] = full_at + self._interval
        if len(self._full_at) >= self._sweep_at:
            self._forget_full(now)
        return 0.0

    def state(self, key: str, now: float) -> RateState:
        """How the key stands, without taking anything."""
        wait = max(0.0, self._full_at.get(key, now) - now)
        return RateState(self.rate, int(self.burst - wait * self.rate + 1e-6), wait)

    def _forget_full(self, now: float) -> None:
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        self._sweep_at = max(_SWEEP_FROM, 2 * len(self._full_at))  # doubling keeps the sweep O(1) per call
