"""The offer book: what it finds, in which order it would buy, how sure it is, and what it remembers."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from controlplane.domain.failures import FailureRecord, remembered, subjects
from controlplane.domain.offer import Offer, Tier
from controlplane.domain.operation import Outcome
from controlplane.domain.requirements import Requirements
from controlplane.domain.template import Constraint, Template
from controlplane.usecases import offer_prices
from controlplane.usecases.offer_confidence import Freshness, freshness, worth
from controlplane.usecases.offerbook import BEING_BOUGHT, LARGE, OfferBook
from tests.support.fakes import SECOND, START

MINUTE = 60 * SECOND
ANY = Requirements()


def offer(id: str, price: float = 1.0, **changes: Any) -> Offer:
    fields: dict[str, Any] = {
        "id": id, "provider": id.partition("-")[0], "gpu_type": "RTX 4090", "gpu_count": 1, "vram_gb": 24,
        "cpu_count": 8, "memory_gb": 64, "disk_gb": 100, "region": "eu", "location": "Oslo, NO",
        "tier": Tier.ON_DEMAND, "price_nano_per_hour": int(price * 10**9), "currency": "USD", "available": 1,
        "seen_at": START,
    } | changes  # fmt: skip
    return Offer(**fields)


def book_of(*offers: Offer, now: int = START) -> OfferBook:
    book = OfferBook()
    for provider in {each.provider for each in offers}:
        book.update(provider, tuple(each for each in offers if each.provider == provider), now)
    return book


def failed(one: Offer, outcome: Outcome = Outcome.STOCKOUT, at: int = START, rest_s: float = 60) -> list[FailureRecord]:
    return [remembered(None, id, weight, one, outcome, at, rest_s) for id, weight in subjects(one).items()]


def ids(found: Any) -> list[str]:
    return [each.id for each in found]


class TestFinding:
    def test_empty(self) -> None:
        book = OfferBook()
        assert not book.providers
        assert list(book) == book.matching(ANY, "USD") == []
        assert book.get("vast-1") is None
        assert book.ranked(ANY, "USD", START).total == 0

    def test_pages_of_providers_are_replaced_and_stand_by_price_and_id(self) -> None:
        book = book_of(offer("a-2"), offer("a-1"), offer("b-1", 0.5), offer("b-2", 3, currency="EUR"))
        assert ids(book) == ["b-1", "a-1", "a-2", "b-2"]
        book.update("b", (offer("b-3", 2),), START)
        assert ids(book) == ["a-1", "a-2", "b-3"]
        assert book.get("b-1") is None
        assert book.get("b-3") is not None
        book.update("b", (), START)
        assert ids(book.matching(ANY, "USD")) == ["a-1", "a-2"]

    @pytest.mark.parametrize(
        ("wanted", "reason"),
        [
            (Requirements(gpu_types=("H100 SXM",)), ""),
            (Requirements(vendors=("amd",)), ""),
            (Requirements(gpu_count=2), ""),
            (Requirements(min_gpu_count=2), ""),
            (Requirements(min_vram_gb=48), ""),
            (Requirements(regions=("na", "apac")), "another region"),
            (Requirements(locations=("paris", "berlin")), "another location"),
            (Requirements(tier=Tier.SPOT), "another tier"),
            (Requirements(providers=("b",)), "another provider"),
            (Requirements(simulated=True), "simulated or not"),
            (Requirements(min_reliability=0.1), "too unreliable"),
            (Requirements(min_cpu_count=16), "too few CPUs"),
            (Requirements(min_memory_gb=128), "too little memory"),
            (Requirements(min_cuda_version=12.0), "CUDA too old"),
            (Requirements(max_price_nano_per_hour=10**9 - 1), "too dear"),
            (Requirements(min_confidence=0.95), "too uncertain"),
        ],
    )
    def test_every_requirement_leaves_out_with_its_reason(self, wanted: Requirements, reason: str) -> None:
        book, now = book_of(offer("a-1")), START + 3 * MINUTE
        ranking = book.ranked(wanted, "USD", now)
        assert ranking.candidates == ()
        assert [(s.reason, s.count, s.offer_id) for s in ranking.skipped] == ([(reason, 1, "a-1")] if reason else [])

    def test_every_requirement_is_met_by_what_has_it(self) -> None:
        wanted = Requirements(
            gpu_types=("RTX 4090",), vendors=("nvidia",), gpu_count=2, min_gpu_count=2, min_vram_gb=24, regions=("eu",),
            locations=("oslo",), tier=Tier.SPOT, providers=("a", "b"), simulated=False, min_reliability=0.9,
            min_cpu_count=8, min_memory_gb=64, min_cuda_version=12.4, max_price_nano_per_hour=10**9, min_confidence=1.0,
        )  # fmt: skip
        book = book_of(offer("a-1", gpu_count=2, tier=Tier.SPOT, reliability=0.9, cuda_version=12.4))
        assert ids(book.matching(wanted, "USD")) == ["a-1"]
        assert [c.offer.id for c in book.ranked(wanted, "USD", START).candidates] == ["a-1"]
        assert book.matching(wanted, "EUR") == []

    def test_preferred_regions_come_first(self) -> None:
        book = book_of(offer("a-1", 1, region="na"), offer("a-2", 2), offer("a-3", 3, region="apac"), offer("a-4", 4))
        wanted = Requirements(preferred_regions=("apac", "eu"))
        assert ids(book.matching(wanted, "USD")) == ["a-3", "a-2", "a-4", "a-1"]
        assert [c.offer.id for c in book.ranked(wanted, "USD", START).candidates] == ["a-3", "a-2", "a-4", "a-1"]

    def test_absurd_figures_do_not_hide_the_sound_offers(self) -> None:
        absurd = [offer("a-9", available=2**40), offer("a-8", -1), offer("a" * 300), offer("a-7", memory_gb=-5)]
        nan = offer("a-6", 2, reliability=float("nan"), cuda_version=float("inf"))
        book = OfferBook()
        book.update("a", (*absurd, nan, offer("a-1")), START)
        assert ids(book) == ["a-1", "a-6"]
        assert ids(book.matching(Requirements(min_reliability=0.1), "USD")) == []


class TestRanking:
    def test_is_by_price_where_nothing_else_is_known(self) -> None:
        rng = random.Random(1)
        offers = [offer(f"a-{n}", rng.randrange(1, 9)) for n in range(50)]
        ranking = book_of(*offers).ranked(ANY, "USD", START)
        assert [c.offer for c in ranking.candidates] == sorted(offers, key=lambda o: (o.price_nano_per_hour, o.id))
        assert {c.confidence for c in ranking.candidates} == {1.0}

    def test_expected_price_counts_reliability_and_confidence(self) -> None:
        shaky, sound, failing = (
            offer("a-1", 1.0, reliability=0.5),
            offer("a-2", 1.5, reliability=0.99),
            offer("a-3", 1.2),
        )
        book = book_of(shaky, sound, failing)
        book.remember(failed(failing, Outcome.TOO_DEAR))
        ranking = book.ranked(ANY, "USD", START)
        found = {c.offer.id: (c.confidence, c.expected_price_nano) for c in ranking.candidates}
        # A failure weighs 1.0 on its offer, and 0.1 on its kind: on all three.
        assert found == {
            "a-2": (0.909, int(1.5e9 / (0.909 * 0.99))), "a-1": (0.909, int(1e9 / (0.909 * 0.5))),
            "a-3": (0.455, int(1.2e9 / 0.455)),
        }  # fmt: skip
        assert list(found) == ["a-2", "a-1", "a-3"]

    def test_a_hopeless_offer_is_not_made_dearer_than_twentyfold(self) -> None:
        book = book_of(offer("a-1", 1.0, reliability=0.001))
        assert book.ranked(ANY, "USD", START).candidates[0].expected_price_nano == 20 * 10**9

    def test_what_is_skipped_is_counted_and_only_of_the_wanted_hardware(self) -> None:
        book = book_of(
            offer("a-1", 9), offer("a-2", 8), offer("a-3", 1), offer("a-4", 1, region="na"),
            offer("a-5", 9, gpu_type="H100 SXM"), offer("a-6", 1, region="na", available=0),
        )  # fmt: skip
        book.claim("a-3")
        book.remember(failed(offer("a-6")))
        ranking = book.ranked(Requirements(gpu_types=("RTX 4090",), regions=("eu",)), "USD", START, 2 * 10**9)
        assert ranking.candidates == ()
        assert [(s.reason, s.count, s.offer_id) for s in ranking.skipped] == [
            ("another region", 2, "a-4"), ("too dear", 2, "a-2"), (BEING_BOUGHT, 1, "a-3"),
        ]  # fmt: skip

    def test_claims_take_units(self) -> None:
        book = book_of(offer("a-1", available=2))
        book.claim("a-1")
        assert book.ranked(ANY, "USD", START).total == 1
        book.claim("a-1")
        assert book.ranked(ANY, "USD", START).total == 0
        book.release("a-1")
        assert book.ranked(ANY, "USD", START).total == 1

    def test_a_long_market_gives_its_best_thousand(self) -> None:
        offers = [offer(f"a-{n}", 5000 - n) for n in range(2500)]
        ranking = book_of(*offers).ranked(ANY, "USD", START)
        assert ranking.total == 2500
        assert [c.offer for c in ranking.candidates] == offers[:1499:-1]

    def test_a_template_must_run(self) -> None:
        template = Template("t1", "a", "torch", "i", constraints=(Constraint("cuda_max_good", "gte", 12.4),))
        fits, old, foreign = (
            offer("a-1", facts={"cuda_max_good": 12.8}),
            offer("a-2", facts={"cuda_max_good": 11.8}),
            offer("b-1"),
        )
        book = book_of(fits, old, foreign)
        ranking = book.ranked(ANY, "USD", START, template=template)
        assert [c.offer for c in ranking.candidates] == [fits]
        assert [(s.reason, s.count) for s in ranking.skipped] == [("template does not run there", 2)]
        edited = Template("t1", "a", "torch", "i")
        assert book.ranked(ANY, "USD", START, template=edited).total == 2, "an edited template is asked anew"


class TestConfidence:
    @pytest.mark.parametrize(
        ("minutes", "left"), [(0, 1.0), (2, 1.0), (3.5, 0.75), (5, 0.5), (17.5, 0.3), (30, 0.1), (60, 0.1), (61, 0.0)]
    )
    def test_falls_with_age(self, minutes: float, left: float) -> None:
        one = offer("a-1")
        book, now = book_of(one), START + int(minutes * MINUTE)
        assert worth(minutes * 60) == pytest.approx(left)
        assert book.confidence(one, now) == pytest.approx(left)
        assert [c.confidence for c in book.ranked(ANY, "USD", now).candidates] == (
            [] if minutes > 60 else [pytest.approx(left)]
        )

    def test_an_old_page_is_not_sold_until_it_is_seen_again(self) -> None:
        book, now = book_of(offer("a-1"), offer("b-1", 2)), START + 61 * MINUTE
        book.update("b", (offer("b-1", 2),), now)
        ranking = book.ranked(ANY, "USD", now)
        assert [c.offer.id for c in ranking.candidates] == ["b-1"]
        assert [(s.reason, s.count) for s in ranking.skipped] == [("stale", 1)]

    def test_freshness(self) -> None:
        assert [freshness(age) for age in (0, 119, 120, 3600, 3601)] == ["FRESH", "FRESH", "AGING", "AGING", "STALE"]
        book = book_of(offer("a-1"))
        book.unreachable("a", START + SECOND)
        assert book.freshness("a", START + SECOND) is Freshness.AGING
        assert book.confidence(offer("a-1"), START + SECOND) == 1.0
        book.update("a", (), START + MINUTE)
        assert book.freshness("a", START + MINUTE) is Freshness.FRESH
        assert book.freshness("never asked", START) is Freshness.STALE
        assert not OfferBook().providers

    def test_failures_of_offer_host_and_kind_weigh_and_fade(self) -> None:
        dead, beside, same_kind, other = (
            offer("a-1", vendor_host="h1"), offer("a-2", vendor_host="h1"), offer("a-3", vendor_host="h2"),
            offer("a-4", gpu_type="H100 SXM"),
        )  # fmt: skip
        book = book_of(dead, beside, same_kind, other)
        book.remember(failed(dead))
        for now, damage in ((START, 1.0), (START + 10 * MINUTE, 0.5)):
            book.update("a", (dead, beside, same_kind, other), now)
            expected = [
                1 / (1 + damage) / (1 + 0.5 * damage) / (1 + 0.1 * damage), 1 / (1 + 0.5 * damage) / (1 + 0.1 * damage),
                1 / (1 + 0.1 * damage), 1.0,
            ]  # fmt: skip
            assert [book.confidence(each, now) for each in (dead, beside, same_kind, other)] == [
                pytest.approx(each, abs=0.0006) for each in expected
            ]
            outlook = book.outlook(book.view(now)).all()
            assert outlook.tolist() == [book.confidence(each, now) for each in book]

    def test_a_failure_rests_its_offer_and_an_unusable_machine_its_host(self) -> None:
        dead, beside = offer("a-1", vendor_host="h1"), offer("a-2", 2, vendor_host="h1")
        book = book_of(dead, beside)
        book.remember(failed(dead))
        assert book.resting(dead, START) == "stockout a moment ago, rests until 00:01:00 UTC"
        assert book.resting(beside, START) == ""
        assert [c.offer.id for c in book.ranked(ANY, "USD", START).candidates] == ["a-2"]
        assert book.resting(dead, START + MINUTE) == ""
        assert book.ranked(ANY, "USD", START + MINUTE).total == 2
        book.remember(failed(dead, Outcome.UNUSABLE))
        ranking = book.ranked(ANY, "USD", START)
        assert [(s.reason, s.count) for s in ranking.skipped] == [("resting", 2)]

    def test_what_faded_is_forgotten(self) -> None:
        one = offer("a-1")
        book = book_of(one)
        book.remember(failed(one))
        later = START + 180 * MINUTE
        book.update("a", (one,), later)
        assert book.confidence(one, later) == 1.0
        assert book.resting(one, START) == "", "the record is gone"


class TestTemplates:
    def test_by_name_and_id(self) -> None:
        book = OfferBook()
        book.update_templates("a", (Template("2", "a", "torch", "i"), Template("1", "a", "Comfy", "i")))
        book.update_templates("b", (Template("3", "b", "bare", "i"),))
        assert ids(book.templates()) == ["3", "1", "2"]
        assert ids(book.templates("a")) == ["1", "2"]
        found = book.template("3")
        assert found is not None
        assert found.provider == "b"
        book.update_templates("b", ())
        assert book.template("3") is None


class TestPrices:
    def test_of_one_gpu_by_type_provider_and_tier(self) -> None:
        book = book_of(
            offer("a-1", 1), offer("a-2", 4, gpu_count=2), offer("a-3", 3), offer("a-4", 9),
            offer("a-5", 1, tier=Tier.SPOT), offer("b-1", 1, gpu_type="cpu", gpu_count=0, available=5),
            offer("b-2", currency="EUR"),
        )  # fmt: skip
        rows = {
            (r.gpu_type, r.provider, r.tier.value): (
                r.offers,
                r.available,
                r.lowest_nano,
                r.median_nano,
                r.highest_nano,
            )
            for r in offer_prices.price_rows(book.index, "USD")
        }
        nano = 10**9
        assert rows == {
            ("RTX 4090", "a", "on_demand"): (4, 4, nano, 2 * nano, 9 * nano),
            ("RTX 4090", "a", "spot"): (1, 1, nano, nano, nano),
            ("cpu", "b", "on_demand"): (1, 5, nano, nano, nano),
        }
        assert offer_prices.price_rows(OfferBook().index, "USD") == []


class TestLargeBooks:
    async def test_are_put_in_order_beside_the_event_loop(self) -> None:
        book = book_of(offer("b-1", 0.5))
        offers = tuple(offer(f"a-{n}", 1 + n % 7) for n in range(20_000))
        slowest = 0.0

        async def heartbeat() -> None:
            nonlocal slowest
            while True:
                began = time.perf_counter()
                await asyncio.sleep(0)
                slowest = max(slowest, time.perf_counter() - began)

        beating = asyncio.create_task(heartbeat())
        began = time.perf_counter()
        await book.refresh("a", offers, START)
        took = time.perf_counter() - began
        beating.cancel()
        assert len(book.index) == 20_001
        assert slowest < took / 2, "the loop went on meanwhile"

    async def test_refreshes_at_once_lose_nothing(self) -> None:
        book = OfferBook()
        many = {p: tuple(offer(f"{p}-{n}") for n in range(LARGE)) for p in ("a", "b")}
        refreshing = [asyncio.create_task(book.refresh(p, offers, START)) for p, offers in many.items()]
        await asyncio.sleep(0)
        book.update("c", (offer("c-1"),), START)
        await asyncio.gather(*refreshing)
        assert set(book.index.pages) == {"a", "b", "c"}
        assert len(book.index) == 2 * LARGE + 1

    async def test_a_template_is_prepared_for(self) -> None:
        book = OfferBook()
        await book.refresh("a", tuple(offer(f"a-{n}", facts={"n": n}) for n in range(LARGE)), START)
        template = Template("t", "a", "t", "i", constraints=(Constraint("n", "lt", 3),))
        await book.prepare(template)
        assert book.ranked(ANY, "USD", START, template=template).total == 3

    async def test_small_ones_need_no_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(asyncio, "to_thread", None)
        book = OfferBook()
        await book.refresh("a", (offer("a-1"),), START)
        await book.prepare(Template("t", "a", "t", "i"))
        assert ids(book) == ["a-1"]
