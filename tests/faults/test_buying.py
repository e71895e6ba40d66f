"""Buying through the real adapters and the simulators, in virtual time: failing over, caps, a provider that hangs."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterable

import pytest

from controlplane.domain.instance import Instance
from controlplane.domain.money import NANO
from controlplane.domain.offer import Tier
from controlplane.domain.operation import Operation, Outcome
from controlplane.domain.requirements import Requirements
from controlplane.domain.state import State
from tests.faults.stage import Stage

GPU = "RTX 4090"


def test_the_ten_cheapest_are_gone_and_the_eleventh_runs() -> None:
    async def scenario(stage: Stage) -> tuple[Operation, Instance]:
        vast = stage.markets["vastai"]
        ids = [vast.add_offer({"gpu_name": GPU, "usd_per_hour": round(0.4 * 1.5**number, 4)}) for number in range(11)]
        await stage.refreshed()
        # Others rent the ten cheapest; the market goes on listing them.
        vast.configure({"stale_inventory_s": 7200, "stockout": 0.0})
        for id in ids[:10]:
            vast.asks[int(id)].held = 1  # type: ignore[attr-defined]
            vast.asks[int(id)].stale_until = vast.clock.now() + 7200  # type: ignore[attr-defined]
        operation, instance = await stage.done(
            await stage.create(Requirements((GPU,), tier=Tier.ON_DEMAND), 100 * NANO)
        )
        tried = [attempt.offer_id for attempt in operation.attempts]
        assert set(tried[:10]) == {f"vastai-{id}" for id in ids[:10]}
        assert tried[10:] == [f"vastai-{ids[10]}"]
        return operation, instance

    operation, instance = Stage({"vastai": 0}).play(scenario)
    outcomes = [attempt.outcome for attempt in operation.attempts]
    assert outcomes == [Outcome.STOCKOUT] * 10 + [Outcome.CREATED]
    assert all(attempt.message for attempt in operation.attempts[:10]), "each has its cause"
    assert instance.state is State.RUNNING


@pytest.mark.parametrize("provider", ["vastai", "tensordock", "ionet"])
def test_a_price_that_rose_beyond_the_cap_is_not_paid(provider: str) -> None:
    async def scenario(stage: Stage) -> None:
        market = stage.markets[provider]
        lasting = [each for each in stage.core.offers if each.tier is Tier.ON_DEMAND]
        offer = min(lasting, key=lambda each: each.price_nano_per_hour)
        wish = Requirements((offer.gpu_type,), gpu_count=offer.gpu_count, tier=Tier.ON_DEMAND)
        cap = offer.price_nano_per_hour * 11 // 10
        await asyncio.sleep(20.0)  # past what adapters remember of prices, before the book looks again
        for listed in market.offers_json():
            market.reprice_offer(listed["id"], listed["price_usd_per_hour"] * 2)
        operation, instance = await stage.done(await stage.create(wish, cap))
        assert operation.attempts, "it was in the book at the old price"
        assert {attempt.outcome for attempt in operation.attempts} == {Outcome.TOO_DEAR}
        assert instance.state is State.FAILED
        assert market.journal.entries("create") == []
        assert market.alive() == []

    Stage({provider: 20}).play(scenario)


@pytest.mark.parametrize("hung", ["vastai", "tensordock", "ionet"])
def test_a_provider_that_hangs_slows_no_other(hung: str) -> None:
    assert _median_s(hung, hangs=True) <= 1.1 * _median_s(hung, hangs=False)


@pytest.mark.parametrize("hung", ["vastai", "tensordock", "ionet"])
def test_a_crowd_at_a_provider_that_hangs_slows_no_other(hung: str) -> None:
    """More wishes wait there than one process works on at a time, and the others are asked for ten at once."""
    crowded = _median_s(hung, hangs=True, waiting=400, at_once=10, times=1)
    assert crowded <= 1.1 * _median_s(hung, hangs=False, waiting=0, at_once=10, times=1)


def _median_s(hung: str, *, hangs: bool, waiting: int = 10, at_once: int = 1, times: int = 15) -> float:
    """Seconds from a wish to a running machine on the others, while one hangs on every call or does not."""

    async def scenario(stage: Stage) -> list[float]:
        for market in stage.markets.values():
            market.configure({"boot_s": [3.0, 3.0]})
        others = tuple(name for name in stage.markets if name != hung)
        wanted = [_wish((name,), stage) for name in others] * at_once
        stage.markets[hung].configure({"hang_all": hangs, "hang_s": 3600.0})
        there = _wish((hung,), stage)
        for _ in range(waiting):  # somebody wants what the hanging one offers, all the time
            await stage.create(there)
        found = []
        for _ in range(times):
            made = [await stage.create(wish) for wish in wanted]
            found += [await stage.done(operation) for operation in made]
            await asyncio.sleep(5.0)
        return list(_latencies(instance for _, instance in found))

    return statistics.median(Stage(dict.fromkeys(("vastai", "tensordock", "ionet"), 120)).play(scenario))


def _wish(providers: tuple[str, ...], stage: Stage) -> Requirements:
    kinds = {offer.gpu_type for offer in stage.core.offers if offer.provider in providers}
    return Requirements(tuple(sorted(kinds)), providers=providers)


def _latencies(rows: Iterable[Instance]) -> Iterable[float]:
    for row in rows:
        assert row.run_at is not None, row.state_message
        yield (row.run_at - row.created_at) / 1_000_000


def test_prices_are_exact() -> None:
    async def scenario(stage: Stage) -> None:
        stage.markets["vastai"].add_offer({"gpu_name": GPU, "usd_per_hour": 0.3})
        await stage.refreshed()
        (offer,) = [each for each in stage.core.offers if not each.id.endswith("-spot")]
        assert offer.price_nano_per_hour > 3 * NANO // 10, "storage is in the price"

    Stage({"vastai": 0}).play(scenario)
