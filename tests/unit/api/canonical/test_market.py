"""gpuplane.v1.Offers and Usage."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from controlplane.domain.ledger import LedgerEntry, LedgerKind
from tests.support.fakes import SECOND, START
from tests.unit.api.canonical.support import (
    DAY,
    HOUR,
    Code,
    Farm,
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
        farm.core.offers.update("local", ())  # all that was on the first page is gone
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
