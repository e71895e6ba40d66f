"""Turns: intervals, windows, penalties, priority."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from controlplane.adapters.providers.http import Held, Rate
from controlplane.adapters.providers.http.limiter import Limiter
from tests.simulation.world import VirtualClock
from tests.unit.providers.support import in_virtual_time


async def turns(limiter: Limiter, clock: VirtualClock, call: str, count: int) -> list[float]:
    """When each of so many calls, asked for at once, was sent."""

    async def one() -> float:
        await limiter.turn(call, 1e6)
        await limiter.send(call, 1e6)
        return clock.monotonic()

    return sorted(await asyncio.gather(*(one() for _ in range(count))))


def test_an_interval_lies_between_two_calls() -> None:
    async def body(clock: VirtualClock) -> list[float]:
        return await turns(Limiter({"a": Rate(interval_s=2.0)}, clock), clock, "a", 5)

    times = in_virtual_time(body)
    assert times[0] == 0
    assert all(2.0 <= b - a <= 2.2 for a, b in itertools.pairwise(times))


def test_a_window_holds_in_every_minute() -> None:
    async def body(clock: VirtualClock) -> list[float]:
        return await turns(Limiter({"a": Rate(per_minute=10)}, clock), clock, "a", 35)

    times = in_virtual_time(body)
    assert times[9] == 0  # a burst is fine
    assert all(sum(1 for t in times if start <= t < start + 60) <= 10 for start in times)


def test_turns_that_were_used_late_are_still_sent_apart() -> None:
    async def body(clock: VirtualClock) -> list[float]:
        limiter = Limiter({"launch": Rate(interval_s=4.5)}, clock)

        async def late() -> float:
            await limiter.turn("launch", 100)
            await clock.sleep(20 - clock.monotonic())  # all find their price at the same moment
            await limiter.send("launch", 100)
            return clock.monotonic()

        return sorted(await asyncio.gather(*(late() for _ in range(3))))

    times = in_virtual_time(body)
    assert all(b - a >= 4.5 for a, b in itertools.pairwise(times))


def test_the_urgent_pass_others_in_a_pool() -> None:
    rates = {
        "all": Rate(per_minute=10, reserve=3),
        "search": Rate(pool="all"),
        "destroy": Rate(pool="all", urgent=True),
    }

    async def body(clock: VirtualClock) -> tuple[list[float], list[float]]:
        limiter = Limiter(rates, clock)
        searches = asyncio.create_task(turns(limiter, clock, "search", 30))
        await clock.sleep(1)
        destroys = await turns(limiter, clock, "destroy", 3)
        return await searches, destroys

    searches, destroys = in_virtual_time(body)
    assert destroys[-1] == 1  # at once
    assert searches[6] == 0
    assert searches[7] >= 60


def test_a_refusal_silences_for_what_it_says_or_longer_each_time() -> None:
    async def body(clock: VirtualClock) -> list[float]:
        limiter = Limiter({"a": Rate(penalty_s=5.0)}, clock)
        silences = [limiter.refused("a", None), limiter.refused("a", None), limiter.refused("a", 30.0)]
        await limiter.turn("a", 100)
        limiter.accepted("a")
        return [*silences, clock.monotonic(), limiter.refused("a", None)]

    assert in_virtual_time(body) == [5.0, 10.0, 30.0, 30.0, 5.0]


def test_a_turn_that_comes_too_late_is_refused_at_once() -> None:
    async def body(clock: VirtualClock) -> float:
        limiter = Limiter({"a": Rate()}, clock)
        limiter.refused("a", 3600.0)
        with pytest.raises(Held) as caught:
            await limiter.turn("a", 20)
        assert caught.value.retry_after_s == pytest.approx(3600)
        return clock.monotonic()

    assert in_virtual_time(body) == 0


def test_a_waiter_that_gives_up_takes_no_turn() -> None:
    async def body(clock: VirtualClock) -> float:
        limiter = Limiter({"a": Rate(interval_s=10.0)}, clock)
        await limiter.turn("a", 1)
        impatient = asyncio.create_task(limiter.turn("a", 100))
        await clock.sleep(1)
        impatient.cancel()
        await limiter.turn("a", 100)
        return clock.monotonic()

    assert in_virtual_time(body) == pytest.approx(10.1)


def test_classes_without_a_rate_are_free() -> None:
    async def body(clock: VirtualClock) -> list[float]:
        return await turns(Limiter({}, clock), clock, "any", 100)

    assert set(in_virtual_time(body)) == {0.0}
