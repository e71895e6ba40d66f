"""Turns to call: one limiter per credential keeps all tasks of the process within the provider's rate limits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.adapters.providers.http.errors import Held
from controlplane.ports.clock import Clock

# What is sent evenly arrives unevenly: a little more than what providers ask for.
_WINDOW_S = 61.0
_MARGIN_S = 0.1

_LONGEST_PENALTY_S = 60.0
_MOST_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Rate:
    """How often calls of one class may be sent.

    `pool` names another class whose bounds hold as well. Of a pool's `per_minute`, `reserve` is kept for urgent
    classes, so that destroys never wait behind searches; and no refusal silences these for longer than a minute,
    whatever time it names: while they are silent, machines that nobody wants cost money.
    """

    interval_s: float = 0.0  # least time between two
    per_minute: int = 0  # in any minute; 0: no bound
    penalty_s: float = 2.0  # silence after a refusal that names no time; doubles while refusals go on
    pool: str = ""
    urgent: bool = False
    reserve: int = 0


class _Pace:
    """When the next one may be, by the times of those before."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._gap = rate.interval_s + _MARGIN_S if rate.interval_s else 0.0
        self._last: float | None = None
        self._window: deque[float] = deque()

    def wait_s(self, now: float, *, urgent: bool) -> float:
        wait = 0.0 if self._last is None else self._last + self._gap - now
        most = self.rate.per_minute - (0 if urgent else self.rate.reserve)
        while self._window and self._window[0] <= now - _WINDOW_S:
            self._window.popleft()
        if self.rate.per_minute and len(self._window) >= most:
            wait = max(wait, self._window[len(self._window) - most] + _WINDOW_S - now)
        return wait

    def take(self, now: float) -> None:
        self._last = now
        if self.rate.per_minute:
            self._window.append(now)

    def not_before(self, now: float) -> None:
        """Something was sent now on an earlier turn."""
        self._last = now if self._last is None else max(self._last, now)


class _Class:
    """One class of calls. Turns are given first come, first served; a waiter that is cancelled takes none.

    A turn may be taken well before its call is sent (a price is checked in between), so sends keep a pace of their
    own: the provider never sees two closer than its interval.
    """

    def __init__(self, rate: Rate, pool: _Class | None) -> None:
        self.rate, self.pool = rate, pool
        self.turns, self.sends = _Pace(rate), _Pace(rate)
        self.turn_line, self.send_line = asyncio.Lock(), asyncio.Lock()
        self.quiet_until = 0.0
        self.refusals = 0

    def quiet_s(self, now: float) -> float:
        """For how long still nothing of this class is sent. A pool's silence does not bind what is urgent."""
        until = self.quiet_until
        if self.pool is not None and not self.rate.urgent:
            until = max(until, self.pool.quiet_until)
        return until - now


class Limiter:
    """Hands out turns by class of call; classes without a rate are not limited."""

    def __init__(self, rates: Mapping[str, Rate], clock: Clock) -> None:
        self._clock = clock
        self._classes: dict[str, _Class] = {}
        for name, rate in sorted(rates.items(), key=lambda item: bool(item[1].pool)):  # pools first
            self._classes[name] = _Class(rate, self._classes[rate.pool] if rate.pool else None)

    async def turn(self, call: str, within_s: float) -> None:
        """Wait for the next turn and take it. Raises Held, as soon as that is clear, if there is none in time."""
        of = self._classes.get(call)
        if of is None:
            return
        paces = [of.turns] if of.pool is None else [of.turns, of.pool.turns]
        await self._pass(of, of.turn_line, paces, within_s)

    async def send(self, call: str, within_s: float) -> None:
        """Wait until what has a turn may be sent, which is now unless turns were used late. Held as for `turn`."""
        of = self._classes.get(call)
        if of is None:
            return
        paces = [of.sends] if of.pool is None else [of.sends, of.pool.sends]
        await self._pass(of, of.send_line, paces, within_s)
        of.turns.not_before(self._clock.monotonic())

    def refused(self, call: str, after_s: float | None) -> float:
        """The provider said "too many". For how long nothing of this class is sent now, in seconds."""
        of = self._classes.get(call)
        if of is None:
            return after_s or 0.0
        of.refusals += 1
        penalty_s = of.rate.penalty_s * 2 ** min(of.refusals - 1, _MOST_DOUBLINGS)
        wait = after_s if after_s is not None else min(_LONGEST_PENALTY_S, penalty_s)
        wait = min(wait, _LONGEST_PENALTY_S) if of.rate.urgent else wait
        until = self._clock.monotonic() + wait
        for each in (of, of.pool):
            if each is not None:
                each.quiet_until = max(each.quiet_until, until)
        return wait

    def accepted(self, call: str) -> None:
        """The provider let a call pass."""
        of = self._classes.get(call)
        if of is not None:
            of.refusals = 0

    async def _pass(self, of: _Class, line: asyncio.Lock, paces: list[_Pace], within_s: float) -> None:
        until = self._clock.monotonic() + within_s
        try:
            async with asyncio.timeout(within_s), line:
                while (wait := self._wait_s(of, paces)) > 0:
                    if self._clock.monotonic() + wait > until:
                        raise Held("the provider's rate limit leaves no turn in time", retry_after_s=wait)
                    await self._clock.sleep(wait)
                for pace in paces:  # no await since the look: nobody took it in between
                    pace.take(self._clock.monotonic())
        except TimeoutError:
            raise Held("too many wait for a turn at the provider", retry_after_s=within_s) from None

    def _wait_s(self, of: _Class, paces: list[_Pace]) -> float:
        now = self._clock.monotonic()
        return max(of.quiet_s(now), *(pace.wait_s(now, urgent=of.rate.urgent) for pace in paces))
