"""gpuplane.v1.Offers and Usage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from controlplane.domain.failures import FailureRecord
from controlplane.domain.ledger import LedgerEntry, LedgerKind
from controlplane.domain.offer import Offer
from controlplane.domain.template import Constraint, Template
from tests.support.fakes import SECOND, START
from tests.unit.api.canonical.support import (
    DAY,
    HOUR,
    Code,
    Farm,
    offer,
    pb,
)


class TestOffers:
    async def test_cheapest_first_in_the_accounts_currency(self, farm: Farm) -> None:
        got = await farm.alice.offers.ListOffers(pb.ListOffersRequest())
        assert [o.id for o in got.offers] == ["vastai-1", "local-cpu", "local-gpu"]
        assert (got.total_size, got.next_page_token) == (3, "")

    async def test_orders_and_pages_survive_a_moving_market(self, farm: Farm, ended: Any) -> None:
        request = pb.ListOffersRequest(page_size=2, order_by="price_per_hour desc")
        first = await farm.alice.offers.ListOffers(request)
        assert [o.id for o in first.offers] == ["local-gpu", "local-cpu"]
        farm.core.offers.update("local", (), farm.clock.now())  # all that was on the first page is gone
        request.page_token = first.next_page_token
        second = await farm.alice.offers.ListOffers(request)
        assert [o.id for o in second.offers] == ["vastai-1"]
        assert not second.next_page_token
        request.order_by = "reliability"
        assert (await ended(farm.alice.offers.ListOffers(request))).info.reason == "INVALID_PAGE_TOKEN"
        end = await ended(farm.alice.offers.ListOffers(pb.ListOffersRequest(order_by="id; drop")))
        assert end.info.metadata["field"] == "order_by"

    async def test_requirements_narrow(self, farm: Farm) -> None:
        wanted = pb.Requirements(gpu_types=["h100"], max_price_per_hour=Money(units=5))
        got = await farm.alice.offers.ListOffers(pb.ListOffersRequest(requirements=wanted))
        assert [o.id for o in got.offers] == ["local-gpu"]

    async def test_get(self, farm: Farm, ended: Any) -> None:
        assert (await farm.alice.offers.GetOffer(pb.GetOfferRequest(id="local-gpu"))).vendor == "NVIDIA"
        for id in ("nothing", "vastai-e"):
            assert (await ended(farm.alice.offers.GetOffer(pb.GetOfferRequest(id=id)))).code is Code.NOT_FOUND

    async def test_gpu_types(self, farm: Farm) -> None:
        offered = await farm.alice.offers.ListGpuTypes(pb.ListGpuTypesRequest(offered_only=True))
        (row,) = offered.gpu_types
        assert (row.name, row.offer_count, row.lowest_price_per_hour.units) == ("H100 SXM", 1, 2)
        table = (await farm.alice.offers.ListGpuTypes(pb.ListGpuTypesRequest(vendor="amd"))).gpu_types
        assert {row.vendor for row in table} == {"AMD"}


def _market(count: int, **changes: Any) -> tuple[Offer, ...]:
    return tuple(offer(f"local-{n:03}", price_nano_per_hour=10**8 * (1 + n % 3), **changes) for n in range(count))


def _failure(id: str, provider: str, at: int) -> FailureRecord:
    return FailureRecord(id, provider, 1000, at, 0, "STOCKOUT")


class TestOfferPages:
    async def pages(self, farm: Farm, between: Callable[[], None], **fields: Any) -> list[str]:
        """The ids of all pages, with something that happens between each two."""
        request, found = pb.ListOffersRequest(page_size=7, **fields), []
        while True:
            page = await farm.alice.offers.ListOffers(request)
            found += [each.id for each in page.offers]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token
            between()

    @pytest.mark.parametrize(
        "order", [f"{field}{way}" for field in ("price_per_hour", "reliability", "confidence") for way in ("", " desc")]
    )
    async def test_nothing_that_stays_is_skipped_or_repeated(self, farm: Farm, order: str) -> None:
        stays = _market(20)
        farm.core.offers.update("local", stays, farm.clock.now())
        farm.core.offers.update("vastai", (), farm.clock.now())
        farm.core.offers.remember([_failure(f"offer/local-{n:03}", "local", farm.clock.now() - 1) for n in (2, 9, 17)])
        turn = iter(range(100))

        def move() -> None:
            """Ages, refreshes, comes and goes, and fails."""
            number = next(turn)
            farm.clock.advance(150)
            if number % 2:
                comes = offer(f"local-{number:03}x", price_nano_per_hour=15 * 10**7)
                farm.core.offers.update("local", (comes, *reversed(stays)), farm.clock.now())
            farm.core.offers.remember(
                [_failure(f"offer/local-{n:03}", "local", farm.clock.now()) for n in (number, 9, 19 - number)]
            )

        found = await self.pages(farm, move, order_by=order)
        assert sorted(id for id in found if not id.endswith("x")) == [each.id for each in stays]

    async def test_a_filter_by_confidence_keeps_to_the_first_page(self, farm: Farm) -> None:
        farm.core.offers.update("local", _market(20), farm.clock.now())
        found = await self.pages(farm, lambda: farm.clock.advance(600), filter="provider = local AND confidence > 0.9")
        assert len(found) == 20
        wanted = pb.Requirements(min_confidence=0.9)
        assert await self.pages(farm, lambda: None, requirements=wanted) == []

    async def test_tokens_belong_to_their_filter(self, farm: Farm, ended: Any) -> None:
        request = pb.ListOffersRequest(page_size=1, filter="provider:l")
        request.page_token = (await farm.alice.offers.ListOffers(request)).next_page_token
        request.filter = "provider:v"
        assert (await ended(farm.alice.offers.ListOffers(request))).info.reason == "INVALID_PAGE_TOKEN"


class TestInventory:
    async def test_confidence_and_freshness_are_those_of_the_moment(self, farm: Farm) -> None:
        for minutes, confidence, freshness in ((0, 1.0, 1), (5, 0.5, 2), (61, 0.0, 3)):
            farm.core.offers.update("local", (offer("local-1", vendor_host="h7", prepaid_s=3600),), farm.clock.now())
            farm.clock.advance(minutes * 60)
            one = await farm.alice.offers.GetOffer(pb.GetOfferRequest(id="local-1"))
            assert (one.confidence, one.freshness, one.vendor_host) == (confidence, freshness, "h7")
            assert one.prepaid.seconds == 3600
            (listed,) = (await farm.alice.offers.ListOffers(pb.ListOffersRequest(filter="provider = local"))).offers
            assert listed == one

    async def test_standby_price_of_nothing_is_not_the_absence_of_one(self, farm: Farm) -> None:
        farm.core.offers.update(
            "local", (offer("local-1", standby_nano_per_hour=0), offer("local-2")), farm.clock.now()
        )
        got = (await farm.alice.offers.ListOffers(pb.ListOffersRequest(filter="provider = local"))).offers
        assert [one.HasField("standby_price_per_hour") for one in got] == [True, False]

    async def test_a_bad_filter_is_named(self, farm: Farm, ended: Any) -> None:
        end = await ended(farm.alice.offers.ListOffers(pb.ListOffersRequest(filter="provider = local AND prise < 2")))
        assert (end.code, end.info.metadata["field"]) == (Code.INVALID_ARGUMENT, "filter")
        assert (end.info.metadata["value"], "(at character 22)" in end.message) == ("prise", True)

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"min_confidence": 1.5}, "requirements.min_confidence"),
            ({"min_gpu_count": -1}, "requirements.min_gpu_count"),
            ({"vendors": ["x"] * 17}, "requirements.vendors"),
            ({"locations": ["x"] * 17}, "requirements.locations"),
            ({"min_reliability": float("nan")}, "requirements.min_reliability"),
            ({"regions": ["moon"]}, "requirements.regions"),
        ],
    )
    async def test_bad_requirements_are_named(self, farm: Farm, ended: Any, fields: Any, field: str) -> None:
        request = pb.ListOffersRequest(requirements=pb.Requirements(**fields))
        end = await ended(farm.alice.offers.ListOffers(request))
        assert (end.code, end.info.metadata["field"]) == (Code.INVALID_ARGUMENT, field)

    async def test_vendors_locations_and_gpu_counts_narrow(self, farm: Farm) -> None:
        wanted = pb.Requirements(vendors=["nVidia"], locations=["HER"], min_gpu_count=2)
        got = await farm.alice.offers.ListOffers(pb.ListOffersRequest(requirements=wanted))
        assert [o.id for o in got.offers] == ["local-gpu"]

    async def test_ranking_is_what_a_create_would_do(self, farm: Farm) -> None:
        farm.core.offers.remember([_failure("offer/vastai-1", "vastai", farm.clock.now())])
        farm.core.offers.claim("local-cpu")
        wanted = pb.Requirements(gpu_types=["cpu"])
        got = await farm.alice.offers.RankOffers(pb.RankOffersRequest(requirements=wanted))
        (only,) = got.candidates
        assert (only.offer.id, only.offer.confidence, only.expected_price_per_hour.nanos) == ("vastai-1", 0.5, 10**8)
        assert [(s.reason, s.count, s.offer_id) for s in got.skipped] == [("being bought", 1, "local-cpu")]
        capped = pb.RankOffersRequest(requirements=wanted, max_price_per_hour=Money(nanos=1), page_size=1)
        got = await farm.alice.offers.RankOffers(capped)
        assert (got.total_size, [(s.reason, s.count) for s in got.skipped]) == (0, [("too dear", 2)])

    async def test_prices(self, farm: Farm) -> None:
        rows = (await farm.alice.offers.ListPrices(pb.ListPricesRequest())).prices
        shown = [(r.gpu_type, r.provider, r.offer_count, r.median_price_per_hour.units) for r in rows]
        assert shown == [("H100 SXM", "local", 1, 2), ("cpu", "local", 1, 0), ("cpu", "vastai", 1, 0)]
        one = pb.ListPricesRequest(gpu_type="h100", provider="local")
        assert [r.gpu_type for r in (await farm.alice.offers.ListPrices(one)).prices] == ["H100 SXM"]
        farm.core.offers.update("local", (), farm.clock.now())
        assert not (await farm.alice.offers.ListPrices(one)).prices


class TestTemplates:
    @pytest.fixture
    def stocked(self, farm: Farm) -> Farm:
        newer = Constraint("cuda_max_good", "gte", 12.4)
        farm.core.offers.update_templates(
            "vastai",
            (
                Template("t1", "vastai", "PyTorch", "pytorch/pytorch", recommended=True, constraints=(newer,)),
                Template("t2", "vastai", "ComfyUI", "comfy", created_at=START, env={"TOKEN": "secret"}),
                Template("t3", "vastai", "pytorch nightly", "pytorch/nightly", constraints=(
                    Constraint("verified", "eq", True), Constraint("geolocation", "notin", ("CN", "RU")))),
            ),
        )  # fmt: skip
        farm.core.offers.update(
            "vastai",
            (offer("vastai-1", facts={"cuda_max_good": 12.8}), offer("vastai-2", facts={"cuda_max_good": 11.8})),
            farm.clock.now(),
        )
        return farm

    async def test_list_and_get(self, stocked: Farm, ended: Any) -> None:
        async def names(**fields: Any) -> list[str]:
            found = await stocked.alice.offers.ListTemplates(pb.ListTemplatesRequest(**fields))
            return [template.name for template in found.templates]

        assert await names() == ["ComfyUI", "PyTorch", "pytorch nightly"]
        assert await names(name="TORCH") == ["PyTorch", "pytorch nightly"]
        assert await names(recommended_only=True) == ["PyTorch"]
        assert await names(provider="local") == []
        request = pb.ListTemplatesRequest(page_size=2)
        first = await stocked.alice.offers.ListTemplates(request)
        assert (first.total_size, [t.id for t in first.templates]) == (3, ["t2", "t1"])
        second = await stocked.alice.offers.ListTemplates(
            pb.ListTemplatesRequest(page_size=2, page_token=first.next_page_token)
        )
        assert ([t.id for t in second.templates], second.next_page_token) == (["t3"], "")
        one = await stocked.alice.offers.GetTemplate(pb.GetTemplateRequest(id="t3"))
        assert [(c.fact, c.operator, list(c.values)) for c in one.constraints] == [
            ("verified", "eq", ["true"]), ("geolocation", "notin", ["CN", "RU"]),
        ]  # fmt: skip
        end = await ended(stocked.alice.offers.GetTemplate(pb.GetTemplateRequest(id="t9")))
        assert end.code is Code.NOT_FOUND

    async def test_what_an_offer_can_run(self, stocked: Farm, ended: Any) -> None:
        for id, expected in (("vastai-1", ["t2", "t1"]), ("vastai-2", ["t2"]), ("local-cpu", [])):
            request = pb.ListCompatibleTemplatesRequest(offer_id=id)
            got = await stocked.alice.offers.ListCompatibleTemplates(request)
            assert ([t.id for t in got.templates], got.total_size) == (expected, len(expected))
        unknown = pb.ListCompatibleTemplatesRequest(offer_id="vastai-9")
        assert (await ended(stocked.alice.offers.ListCompatibleTemplates(unknown))).code is Code.NOT_FOUND

    async def test_offers_that_can_run_a_template(self, stocked: Farm, ended: Any) -> None:
        got = await stocked.alice.offers.ListOffers(pb.ListOffersRequest(template_id="t1"))
        assert [o.id for o in got.offers] == ["vastai-1"]
        ranked = await stocked.alice.offers.RankOffers(pb.RankOffersRequest(template_id="t1"))
        assert [c.offer.id for c in ranked.candidates] == ["vastai-1"]
        end = await ended(stocked.alice.offers.ListOffers(pb.ListOffersRequest(template_id="t9")))
        assert end.code is Code.NOT_FOUND


class TestUsage:
    @pytest.fixture
    async def charged(self, farm: Farm) -> Farm:
        def entry(n: int, at: int, provider: str, **changes: Any) -> LedgerEntry:
            fields: dict[str, Any] = {
                "id": f"led_{n}", "kind": LedgerKind.CHARGE, "account_id": farm.account_id, "instance_id": f"inst_{n}",
                "attempt": 1, "start_at": at, "end_at": at + HOUR, "amount_nano": n * 10**9, "currency": "USD",
                "provider": provider, "gpu_type": "cpu", "gpu_count": 0, "posted_at": at,
            } | changes  # fmt: skip
            return LedgerEntry(**fields)

        await farm.put(
            entry(1, START, "local"),
            entry(2, START + DAY, "vastai", gpu_type="H100 SXM", gpu_count=2),
            entry(3, START + DAY + HOUR, "local"),
            entry(4, START, "local", kind=LedgerKind.PROVIDER_COST),
            entry(5, START, "local", account_id="acct_other"),
        )
        farm.clock.advance(2 * 86400)
        return farm

    async def test_buckets_and_groups(self, charged: Farm) -> None:
        got = await charged.alice.usage.QueryUsage(pb.QueryUsageRequest())
        shown = [(b.start_time.seconds * SECOND, b.gpu_seconds, b.cost.units) for b in got.buckets]
        assert shown == [(START, 3600, 1), (START + DAY, 3 * 3600, 5)]
        grouped = pb.QueryUsageRequest(bucket="USAGE_BUCKET_SIZE_MONTH", group_by="USAGE_GROUP_PROVIDER")
        got = await charged.alice.usage.QueryUsage(grouped)
        assert [(b.group, b.cost.units) for b in got.buckets] == [("local", 4), ("vastai", 2)]

    async def test_pages_keep_their_now(self, charged: Farm) -> None:
        request = pb.QueryUsageRequest(page_size=1)
        first = await charged.alice.usage.QueryUsage(request)
        charged.clock.advance(29 * 86400)  # by the new now, the range would begin after the first bucket
        request.page_token = first.next_page_token
        second = await charged.alice.usage.QueryUsage(request)
        assert [b.cost.units for b in (*first.buckets, *second.buckets)] == [1, 5]
        assert not second.next_page_token

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"bucket": 9}, "bucket"),
            ({"group_by": 9}, "group_by"),
            ({"bucket": 1, "start_time": Timestamp(seconds=1)}, "start_time"),
            ({"start_time": Timestamp(seconds=2), "end_time": Timestamp(seconds=1)}, "start_time"),
            ({"end_time": Timestamp(seconds=10**12)}, "end_time"),
            ({"end_time": Timestamp(seconds=-(10**12))}, "end_time"),
        ],
    )
    async def test_bad_queries_are_named(self, farm: Farm, ended: Any, fields: Any, field: str) -> None:
        end = await ended(farm.alice.usage.QueryUsage(pb.QueryUsageRequest(**fields)))
        assert (end.code, end.info.metadata["field"]) == (Code.INVALID_ARGUMENT, field)

    async def test_summary(self, charged: Farm) -> None:
        got = await charged.alice.usage.GetCostSummary(pb.GetCostSummaryRequest())
        assert (got.total.units, got.instance_count, got.hours) == (6, 3, 3)
        assert [(s.key, s.cost.units) for s in got.by_provider] == [("local", 4), ("vastai", 2)]
        assert [(s.key, s.cost.units) for s in got.by_gpu_type] == [("cpu", 4), ("H100 SXM", 2)]
        one = await charged.alice.usage.GetCostSummary(pb.GetCostSummaryRequest(instance_id="inst_2"))
        assert one.total.units == 2
        none = await charged.bob.usage.GetCostSummary(pb.GetCostSummaryRequest())
        assert (none.total.units, none.total.currency_code, none.instance_count) == (0, "USD", 0)

    async def test_ledger(self, charged: Farm) -> None:
        got = await charged.alice.usage.ListLedgerEntries(pb.ListLedgerEntriesRequest())
        assert [e.id for e in got.entries] == ["led_3", "led_2", "led_1"]
        one = pb.ListLedgerEntriesRequest(instance_id="inst_2")
        assert [e.id for e in (await charged.alice.usage.ListLedgerEntries(one)).entries] == ["led_2"]
