"""The shopper's inventory: filters, order, pages, refusals, and what is remembered of failures."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from gpuplane.dialects.shopper.v1 import inventory_pb2 as pb

from controlplane.api.dialects.shopper.inventory import FAILURE_TYPES, Inventory
from controlplane.api.dialects.shopper.listing import MOST, listing_of
from controlplane.domain.errors import InvalidArgument, NotFound
from controlplane.domain.failures import remembered, subjects, telling
from controlplane.domain.offer import Offer, Tier
from controlplane.domain.operation import Outcome
from controlplane.domain.template import Constraint, Template
from tests.unit.dialects.shopper_plane import FakeCall, World, offer

CHEAP = offer("vastai-1", 0.4, gpu_type="RTX 3090", location="Oslo, NO", reliability=0.9, cuda_version=12.4)
SEED = offer("vastai-12345", 0.45, max_duration_s=0)
LARGE = offer("vastai-8", 12.0, gpu_type="A100 SXM4 80GB", gpu_count=8, vram_gb=80, cuda_version=None)
OLD = offer("tensordock-1", 0.3, reliability=None)
MARKET = (CHEAP, SEED, LARGE, OLD)


@pytest.fixture
async def world() -> World:
    made = World()
    await made.put()
    made.sell(*MARKET)
    return made


async def listed(world: World, **query: str) -> pb.OfferPage:
    body = await Inventory(world.plane).list_offers(pb.ListOffersRequest(**query), FakeCall())
    return pb.OfferPage.FromString(body)


async def ids(world: World, **query: str) -> list[str]:
    return [each.id for each in (await listed(world, **query)).offers]


def failed(world: World, sold: Offer, outcome: Outcome, rest_s: float) -> None:
    now = world.clock.now()
    world.book.remember(
        remembered(None, id, weight, sold, outcome, now, rest_s) for id, weight in subjects(sold).items()
    )


async def test_an_offer_is_shown_as_the_seed_shows_it(world: World) -> None:
    (shown,) = (await listed(world, gpu_type="RTX 4090", provider="vastai")).offers
    assert json.loads(json.dumps(MessageToDict(shown, preserving_proto_field_name=True))) == {
        "id": "vastai-12345", "provider": "vastai", "provider_id": "12345", "gpu_type": "RTX 4090", "gpu_count": 1,
        "vram_gb": 24, "price_per_hour": 0.45, "location": "US-West", "reliability": 0.98, "available": True,
        "fetched_at": "2026-01-01T00:00:00Z", "availability_confidence": 1.0, "cuda_version": 13.0,
    }  # fmt: skip
    assert (shown.max_duration_hours, shown.HasField("simulated")) == (0, False)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["tensordock-1", "vastai-1", "vastai-12345", "vastai-8"]),
        ({"provider": "tensordock"}, ["tensordock-1"]),
        ({"provider": "local"}, []),
        ({"gpu_type": "RTX 3090"}, ["vastai-1"]),
        ({"gpu_type": "rtx3090"}, ["vastai-1"]),
        ({"gpu_type": "A100"}, ["vastai-8"]),
        ({"gpu_type": "Abacus"}, []),
        ({"location": "oslo"}, ["vastai-1"]),
        ({"min_vram": "80"}, ["vastai-8"]),
        ({"max_price": "0.4"}, ["tensordock-1", "vastai-1"]),
        ({"max_price": "0.3999999999"}, ["tensordock-1"]),
        ({"max_price": "0"}, []),
        ({"min_gpu_count": "2"}, ["vastai-8"]),
        ({"gpu_count": "2"}, ["vastai-8"]),
        ({"gpu_count": "2", "min_gpu_count": "1", "limit": "1"}, ["tensordock-1"]),
        ({"min_reliability": "0.95"}, ["vastai-12345", "vastai-8"]),
        ({"min_cuda": "12.9"}, ["tensordock-1", "vastai-12345"]),
        ({"min_availability_confidence": "1"}, ["tensordock-1", "vastai-1", "vastai-12345", "vastai-8"]),
        ({"limit": "2"}, ["tensordock-1", "vastai-1"]),
        ({"limit": "2", "offset": "3"}, ["vastai-8"]),
        ({"offset": "100"}, []),
    ],
)
async def test_filters(world: World, query: dict[str, str], found: list[str]) -> None:
    assert await ids(world, **query) == found


async def test_count_is_of_the_page_and_total_of_all(world: World) -> None:
    page = await listed(world, provider="vastai", limit="2", offset="1")
    assert (page.count, page.total) == (2, 3)
    past = await listed(world, offset="9")
    assert (list(past.offers), past.count, past.total) == ([], 0, 4)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"limit": "0"}, "limit must be positive; got '0'"),
        ({"limit": "-1"}, "limit must be positive; got '-1'"),
        ({"limit": "x"}, "limit must be a whole number up to 2147483647; got 'x'"),
        ({"limit": "1.5"}, "limit must be a whole number up to 2147483647; got '1.5'"),
        ({"limit": "9999999999"}, "limit must be a whole number up to 2147483647; got '9999999999'"),
        ({"offset": "-1"}, "offset must not be negative; got '-1'"),
        ({"min_vram": "-1"}, "min_vram must not be negative; got '-1'"),
        ({"min_gpu_count": "two"}, "min_gpu_count must be a whole number up to 2147483647; got 'two'"),
        ({"gpu_count": "-2"}, "gpu_count must not be negative; got '-2'"),
        ({"max_price": "-0.1"}, "max_price must not be negative; got '-0.1'"),
        ({"max_price": "nan"}, "max_price must be a number; got 'nan'"),
        ({"max_price": "1e999999999"}, "max_price must be a number; got '1e999999999'"),
        ({"min_reliability": "1.1"}, "min_reliability must be from 0 to 1; got '1.1'"),
        ({"min_availability_confidence": "2"}, "min_availability_confidence must be from 0 to 1; got '2'"),
        ({"min_cuda": "new"}, "min_cuda must be a number; got 'new'"),
        ({"provider": "vast"}, "provider must be one of local, tensordock, vastai; got 'vast'"),
        (
            {"provider": "tensordock", "template_hash_id": "abc"},
            "provider must be vastai or absent beside template_hash_id; got 'tensordock'",
        ),
    ],
)
async def test_a_refusal_names_parameter_rule_and_value(world: World, query: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await listed(world, **query)
    assert refused.value.message == sentence


async def test_the_surest_come_first_and_what_rests_is_hidden(world: World) -> None:
    failed(world, OLD, Outcome.REJECTED, 300)  # says little of the next try: it does not rest
    assert await ids(world) == ["vastai-1", "vastai-12345", "vastai-8", "tensordock-1"]
    assert await ids(world, min_availability_confidence="0.9") == ["vastai-1", "vastai-12345", "vastai-8"]
    failed(world, CHEAP, Outcome.STOCKOUT, 300)
    assert "vastai-1" not in await ids(world)
    shown = await Inventory(world.plane).get_offer(pb.GetOfferRequest(id="vastai-1"), FakeCall())
    assert (shown.available, shown.availability_confidence < 1) == (False, True)
    world.clock.advance(301)
    assert "vastai-1" in await ids(world)


async def test_what_cannot_be_rented_is_hidden(world: World) -> None:
    taken, spot, foreign = (
        replace(CHEAP, id="vastai-taken", available=0),
        replace(CHEAP, id="vastai-spot", tier=Tier.SPOT),
        replace(CHEAP, id="vastai-eur", currency="EUR"),
    )
    world.sell(CHEAP, taken, spot, foreign)
    assert await ids(world, provider="vastai") == ["vastai-1"]
    for id in ("vastai-spot", "vastai-eur", "nope"):
        with pytest.raises(NotFound):
            await Inventory(world.plane).get_offer(pb.GetOfferRequest(id=id), FakeCall())
    world.clock.advance(3601)  # nobody has seen them for an hour
    assert await ids(world) == []


async def test_a_limit_above_the_most_is_the_most() -> None:
    assert listing_of(pb.ListOffersRequest(limit=str(MOST + 1)), ()).limit == MOST
    assert listing_of(pb.ListOffersRequest(), ()).limit == MOST


async def test_a_large_list_leaves_others_their_turn_and_is_whole(world: World) -> None:
    world.sell(*(offer(f"vastai-{n}", 1 + n / 1000) for n in range(1000)))
    page = await listed(world, provider="vastai")
    assert [each.id for each in page.offers] == [f"vastai-{n}" for n in range(1000)]
    again = await listed(world, provider="vastai", limit="1", offset="999")
    assert [each.price_per_hour for each in again.offers] == [1.999]


OLLAMA = Template(
    "a8a4", "vastai", "Ollama", "vastai/ollama:0.15", disk_gb=32, vendor={"tag": "0.15"},
    constraints=(Constraint("cuda_max_good", "gte", 12.9),),
)  # fmt: skip


async def test_templates_narrow_the_inventory_and_are_found_for_an_offer(world: World) -> None:
    fits = replace(SEED, facts={"cuda_max_good": 13.0})
    world.sell(CHEAP, fits, OLD)
    world.book.update_templates("vastai", (OLLAMA,))
    assert await ids(world, template_hash_id="a8a4") == ["vastai-12345"]
    with pytest.raises(NotFound):
        await listed(world, template_hash_id="b")

    async def compatible(id: str) -> Any:
        found = await Inventory(world.plane).list_compatible_templates(
            pb.ListCompatibleTemplatesRequest(id=id),
            FakeCall(),
        )
        return MessageToDict(found, preserving_proto_field_name=True)

    assert await compatible("vastai-12345") == {
        "offer_id": "vastai-12345", "count": 1, "gpu_type": "RTX 4090", "vram_gb": 24,
        "compatible_templates": [
            {"hash_id": "a8a4", "name": "Ollama", "image": "vastai/ollama", "recommended_disk_space": 32}
        ],
    }  # fmt: skip
    assert await compatible("vastai-1") == {"offer_id": "vastai-1", "gpu_type": "RTX 3090", "vram_gb": 24}
    other = await compatible("tensordock-1")
    assert other["provider"] == "tensordock"
    assert "Vast.ai" in other["note"]
    with pytest.raises(NotFound):
        await compatible("nope")


async def test_health_tells_what_failed_and_until_when_it_is_hidden(world: World) -> None:
    failed(world, CHEAP, Outcome.STOCKOUT, 300)
    failed(world, LARGE, Outcome.TOO_DEAR, 300)

    async def health(**query: str) -> pb.OfferHealthList:
        return await Inventory(world.plane).list_offer_health(pb.ListOfferHealthRequest(**query), FakeCall())

    first, second = (await health()).offers
    assert (first.offer_id, first.gpu_type, first.is_suppressed, first.confidence_multiplier) == (
        "vastai-1", "RTX 3090", True, 0.0,
    )  # fmt: skip
    assert (first.suppressed_until, first.last_failure) == ("2026-01-01T00:05:00Z", "2026-01-01T00:00:00Z")
    assert (second.offer_id, second.is_suppressed, second.confidence_multiplier) == ("vastai-8", False, 0.5)
    assert [(first.recent_failures, first.last_failure_type), second.last_failure_type] == [
        (1, "stale_inventory"), "stale_inventory",
    ]  # fmt: skip
    (kind,) = (await health(gpu_type="RTX 3090")).gpu_types
    assert (kind.gpu_type_key, kind.failed_offer_count, kind.is_degraded) == ("vastai:RTX 3090", 1, True)
    assert 0.9 < kind.degradation_applied < 1
    assert (await health(provider="tensordock")).count == 0
    world.clock.advance(7200)
    assert (await health()).count == 0


def test_every_failure_that_is_remembered_has_a_word() -> None:
    assert {outcome for outcome in Outcome if telling(outcome)} == set(FAILURE_TYPES)
