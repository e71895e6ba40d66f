"""Rate limits as marketplaces document them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limited:
    """A call's limit: at least `interval_s` between two calls, at most `calls` in any `window_s`; a broken limit holds
    for `penalty_s` more. Calls with the same `shared` name count together. 0: no such limit.
    """

    interval_s: float = 0.0
    penalty_s: float = 0.0
    calls: int = 0
    window_s: float = 60.0
    shared: str = ""


class Limits:
    """Who called what and when."""

    def __init__(self, limit_of: Callable[[str], Limited]) -> None:
        self._limit_of = limit_of
        self._free_at: dict[tuple[str, str], float] = {}
        self._recent: dict[tuple[str, str], deque[float]] = {}

    def wait_s(self, endpoint: str, identity: str, now: float) -> float:
        """0 when the call may pass, which it then has; else how long until one may."""
        limit = self._limit_of(endpoint)
        key = (limit.shared or endpoint, identity)
        free_at = max(self._free_at.get(key, 0.0), self._window_free_at(key, limit, now))
        if now < free_at:
            self._free_at[key] = free_at + limit.penalty_s
            return self._free_at[key] - now
        self._free_at[key] = now + limit.interval_s
        if limit.calls:
            self._recent[key].append(now)
        return 0.0

    def clear(self) -> None:
        """Forget all calls."""
        self._free_at.clear()
        self._recent.clear()

    def _window_free_at(self, key: tuple[str, str], limit: Limited, now: float) -> float:
        if not limit.calls:
            return 0.0
        recent = self._recent.setdefault(key, deque())
        while recent and recent[0] <= now - limit.window_s:
            recent.popleft()
        return recent[0] + limit.window_s if len(recent) >= limit.calls else 0.0
