"""What `gpuplane offers`, `prices` and `templates` print and ask for."""

from __future__ import annotations

import json

from google.type.money_pb2 import Money
from gpuplane.v1.offer_pb2 import OFFER_FRESHNESS_STALE, TIER_SPOT, PriceSummary
from gpuplane.v1.offer_service_pb2 import (
    ListCompatibleTemplatesResponse,
    ListOffersResponse,
    ListPricesResponse,
    ListTemplatesResponse,
    OfferCandidate,
    RankOffersResponse,
)
from gpuplane.v1.operation_pb2 import SkippedOffers
from gpuplane.v1.template_pb2 import Template, TemplateConstraint

from tests.unit.cli import canned
from tests.unit.cli.conftest import Run
from tests.unit.client.fake import FakePlane

DOLLAR = Money(currency_code="USD", units=1)


def test_offers_by_filter_template_and_confidence(cli: Run, plane: FakePlane) -> None:
    offer = canned.offer(simulated=False)
    offer.confidence, offer.freshness = 0.5, OFFER_FRESHNESS_STALE
    plane.on("ListOffers", ListOffersResponse(offers=[offer]))
    out = cli(
        *("offers", "--filter", "cuda_version >= 12.4", "--order", "confidence", "--desc", "--template", "t1"),
        *("--min-confidence", "0.3", "--vendor", "nvidia", "--location", "Oslo"),
    ).out
    assert "50%" in out
    assert "spot stale" in out
    asked = plane.requests("ListOffers")[0]
    assert (asked.filter, asked.template_id, asked.order_by) == ("cuda_version >= 12.4", "t1", "confidence desc")
    wanted = asked.requirements
    assert (wanted.min_confidence, list(wanted.vendors), list(wanted.locations)) == (0.3, ["nvidia"], ["Oslo"])


def test_ranking_names_the_order_and_what_was_skipped(cli: Run, plane: FakePlane) -> None:
    plane.on(
        "RankOffers",
        RankOffersResponse(
            candidates=[OfferCandidate(offer=canned.offer(), expected_price_per_hour=DOLLAR)],
            skipped=[SkippedOffers(reason="too dear", count=3, offer_id="vastai-9")],
            total_size=1,
        ),
    )
    result = cli("offers", "rank", "--gpu", "A100", "--limit", "5")
    assert "$1.00/h" in result.out
    assert "skipped 3: too dear, such as vastai-9" in result.err
    asked = plane.requests("RankOffers")[0]
    assert (list(asked.requirements.gpu_types), asked.page_size) == (["A100"], 5)
    assert asked.requirements.gpu_count == 1
    refused = cli("offers", "--gpu", "A100", "rank")
    assert refused.code == 2
    assert "write --gpu after `rank`" in refused.err


def test_prices(cli: Run, plane: FakePlane) -> None:
    row = PriceSummary(
        gpu_type="RTX 4090", provider="vastai", tier=TIER_SPOT, offer_count=7, available=9,
        lowest_price_per_hour=canned.PRICE, median_price_per_hour=DOLLAR, highest_price_per_hour=DOLLAR,
    )  # fmt: skip
    plane.on("ListPrices", ListPricesResponse(prices=[row]))
    out = cli("prices", "--gpu", "4090", "--provider", "vastai").out
    for part in ("RTX 4090", "vastai", "spot", "7", "$0.45/h", "$1.00/h"):
        assert part in out
    asked = plane.requests("ListPrices")[0]
    assert (asked.gpu_type, asked.provider) == ("4090", "vastai")


def test_templates(cli: Run, plane: FakePlane) -> None:
    template = Template(
        id="abc", provider="vastai", name="PyTorch", image="pytorch/pytorch", ssh=True, recommended=True,
        constraints=[TemplateConstraint(fact="cuda_max_good", operator="gte", values=["12.4"])],
    )  # fmt: skip
    plane.on("ListTemplates", ListTemplatesResponse(templates=[template]))
    plane.on("ListCompatibleTemplates", ListCompatibleTemplatesResponse(templates=[template]))
    plane.on("GetTemplate", template)
    assert "recommended" in cli("templates", "list", "--name", "torch", "--recommended").out
    asked = plane.requests("ListTemplates")[0]
    assert (asked.name, asked.recommended_only) == ("torch", True)
    (shown,) = json.loads(cli("templates", "list", "--offer", "vastai-1", "-o", "json").out)
    assert (shown["id"], plane.requests("ListCompatibleTemplates")[0].offer_id) == ("abc", "vastai-1")
    assert "cuda_max_good gte 12.4" in cli("templates", "get", "abc").out
    assert cli("templates", "list", "--offer", "vastai-1", "--name", "x").code == 2
