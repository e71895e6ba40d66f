"""Vast.ai's search results as offers, and its templates."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from controlplane.adapters.providers.vastai.offers import offer_of, parse_offer_id, price_of
from controlplane.adapters.providers.vastai.templates import constraints_of, flags_of, template_of
from controlplane.domain.offer import Offer, Tier
from controlplane.domain.template import Constraint
from controlplane.ports.provider import ProviderError
from tests.unit.providers.support import Marketplace, answer, in_turn
from tests.unit.providers.vastai_market import ASK, BUNDLES, KEY, market, offer, row, with_provider


def offers(marketplace: Marketplace, **settings: Any) -> tuple[Offer, ...]:
    return with_provider(marketplace, lambda provider, _: provider.offers(), **settings)


def test_a_row_becomes_an_offer_in_our_units() -> None:
    found = offer()
    assert (found.id, found.provider, found.tier) == (f"vastai-{ASK}", "vastai", Tier.ON_DEMAND)
    assert (found.gpu_type, found.gpu_count, found.vram_gb) == ("RTX 4090", 1, 24)
    assert (found.cpu_count, found.memory_gb, found.disk_gb) == (16, 62, 812)  # an eighth of the machine's memory
    assert (found.region, found.location) == ("eu", "Oslo, NO")
    assert found.standby_nano_per_hour == 4_000_000  # 16 GB at 0.18 $ a month
    assert found.price_nano_per_hour == 310_000_000 + 4_000_000
    assert (found.reliability, found.cuda_version, found.max_duration_s) == (0.9962, 12.8, 1_716_300)
    assert (found.vendor_host, found.available) == ("24871", 1)
    assert (found.facts["gpu_ram"], found.facts["static_ip"]) == (24564.0, True)
    assert (found.facts["verified"], found.facts["geolocation"]) == (True, "NO")


def test_a_spot_offer_costs_what_we_will_bid() -> None:
    found = offer(Tier.SPOT)
    assert (found.id, found.tier) == (f"vastai-{ASK}-spot", Tier.SPOT)
    assert found.price_nano_per_hour == 171_000_000 + 4_000_000  # 0.142 and a fifth, rounded up to a tenth of a cent


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"geolocation": None}, "region", ""), ({"geolocation": ", US"}, "region", "na"),
        ({"cpu_cores": None}, "memory_gb", 62), ({"cpu_cores_effective": 0.5}, "cpu_count", 1),
        ({"num_gpus": "8"}, "gpu_count", 8), ({"num_gpus": 8}, "start_deadline_s", 1800),
        ({"inet_down": 20}, "start_deadline_s", 1800), ({"dph_base": "0.31"}, "price_nano_per_hour", 314_000_000),
        ({"gpu_name": "Strange X1", "gpu_ram": 16000}, "gpu_type", "Strange X1"), ({"gpu_ram": 23100}, "vram_gb", 24),
        ({"reliability2": 7}, "reliability", None), ({"cuda_max_good": "soon"}, "cuda_version", None),
        ({"gpu_name": "A100 SXM4", "gpu_ram": 81920}, "gpu_type", "A100 SXM4 80GB"),
    ],
)  # fmt: skip
def test_fields_that_vary(changes: dict[str, Any], field: str, expected: Any) -> None:
    assert getattr(offer(**changes), field) == expected


ABSURD = [
    {"dph_base": -1}, {"dph_base": 0}, {"dph_base": None}, {"dph_base": "free"}, {"dph_base": 1e12}, {"num_gpus": 0},
    {"num_gpus": -2}, {"gpu_ram": "much"}, {"gpu_name": None}, {"id": None, "ask_contract_id": None},
    {"storage_cost": -5}, {"storage_cost": "x"}, {"id": "../1", "ask_contract_id": "../1"},
]  # fmt: skip


def test_absurd_rows_are_skipped_and_told_once() -> None:
    rows = [row(**changes) for changes in ABSURD] + ["no row", None, row(), row()]
    with capture_logs() as logs:
        found = offers(Marketplace({BUNDLES: in_turn(answer({"offers": rows}))}), spot=False)
    assert [o.id for o in found] == [f"vastai-{ASK}"]  # and once, though it came twice
    assert [(line["event"], line["skipped"]) for line in logs] == [("provider.odd_offers", len(ABSURD) + 2)]


def test_the_search_states_its_filters() -> None:
    marketplace = market()
    found = offers(marketplace)
    assert [o.id for o in found] == [f"vastai-{ASK}", f"vastai-{ASK}-spot"]
    bodies = [json.loads(request.content) for request in marketplace.sent("POST")]
    assert [body["type"] for body in bodies] == ["on-demand", "bid"]
    assert bodies[0]["rentable"] == {"eq": True}
    assert bodies[0]["rented"] == {"eq": False}
    assert bodies[0]["limit"] >= 3000
    assert bodies[0]["allocated_storage"] == 16


@pytest.mark.parametrize(
    "bad",
    [
        answer(text="<html>busy</html>"), answer(text=""), answer(text='{"offers": [{"id": 1}'), answer([]),
        answer({"success": True}), answer({"success": False, "msg": "no"}), answer({"offers": None}),
        answer({"error": "auth_error", "msg": "Invalid user key"}, 404), answer({}, 500),
    ],
)  # fmt: skip
def test_no_answer_is_no_empty_market(bad: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        offers(Marketplace({BUNDLES: in_turn(bad)}))
    assert KEY not in str(caught.value)


def test_an_empty_market_is_empty() -> None:
    assert offers(Marketplace({BUNDLES: in_turn(answer({"offers": []}))})) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vastai-12", ("12", Tier.ON_DEMAND)), ("vastai-12-spot", ("12", Tier.SPOT)), ("vastai-", None),
        ("tensordock-12", None), ("vastai-1/2", None), ("vastai-١٢", None),
    ],
)  # fmt: skip
def test_ids_are_read_back(text: str, expected: Any) -> None:
    assert parse_offer_id(text) == expected


TEMPLATE = {
    "id": 7, "hash_id": "4e17788f74f075dd9aab7d0d4427968f", "name": "vLLM", "image": "vllm/vllm-openai", "tag": "v1",
    "env": "-p 8000:8000 -p 1111/tcp -p 5000:5000/udp -e MODEL='a b' -e X=1 -h host", "onstart": "run.sh",
    "use_ssh": True, "recommended": True, "recommended_disk_space": 40, "created_at": 1795212345.5,
    "extra_filters": '{"num_gpus":{"gte":"2"},"cuda_max_good":{"gte":12.4},"gpu_name":{"in":["RTX 4090"]}}',
}  # fmt: skip


def test_a_template_is_read() -> None:
    found = template_of(TEMPLATE)
    assert found is not None
    assert (found.id, found.image, found.disk_gb) == (TEMPLATE["hash_id"], "vllm/vllm-openai:v1", 40)
    assert (found.env, found.ports) == ({"MODEL": "a b", "X": "1"}, (8000, 1111))
    assert found.unmet_by(offer()) == "num_gpus must be gte 2"
    assert found.unmet_by(offer(num_gpus=2)) == ""


@pytest.mark.parametrize("text", ["{", "[1]", '{"a":{"like":"x"}}', '{"a":{"eq":null}}', '{"a":{"in":[{}]}}', "7"])
def test_conditions_that_cannot_be_read_make_no_template(text: str) -> None:
    assert constraints_of(text) is None
    assert template_of({**TEMPLATE, "extra_filters": text}) is None


def test_conditions_of_other_shapes() -> None:
    assert constraints_of(None) == ()
    assert constraints_of('{"verified":true}') == (Constraint("verified", "eq", True),)


@pytest.mark.parametrize("text", [None, "", "-p", "-p 0:0", "-e A", 7, "-e 'x"])
def test_flags_without_sense_are_none(text: Any) -> None:
    assert flags_of(text) == ({}, ())


def test_templates_are_asked_for_rarely() -> None:
    listed = answer({"success": True, "templates": [TEMPLATE, {"odd": True}]})
    marketplace = Marketplace({"GET /api/v0/template/": in_turn(listed)})

    async def body(provider: Any, clock: Any) -> list[str]:
        return [template.name for _ in range(3) for template in await provider.templates()]

    assert with_provider(marketplace, body) == ["vLLM"] * 3
    assert len(marketplace.journal) == 1


@pytest.mark.parametrize("disk_gb", [50, 51, 77, 100, 999])
def test_a_larger_disk_costs_no_more_than_the_offer_says(disk_gb: int) -> None:
    told = json.loads(json.dumps(row(storage_cost=0.1453)), parse_float=Decimal)
    shown_offer = offer_of(told, Tier.ON_DEMAND, 50, 0)
    bought = price_of(told, Tier.ON_DEMAND, disk_gb)
    assert shown_offer is not None
    assert bought is not None
    shown = shown_offer.with_disk(disk_gb).price_nano_per_hour
    assert bought.total <= shown <= bought.total + disk_gb
