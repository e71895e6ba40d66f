"""gpuplane.v1.Offers."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from gpuplane.v1 import offer_pb2, template_pb2
from gpuplane.v1 import offer_service_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.canonical.offer_pages import OfferPages, listing_of
from controlplane.api.canonical.shapes import Plane, currency_of
from controlplane.domain.errors import ON_THE_MARKET, not_found
from controlplane.domain.gpus import GPUS
from controlplane.domain.template import Template
from controlplane.usecases import market
from controlplane.usecases.offer_prices import PriceRow, price_rows
from controlplane.usecases.offer_ranking import Candidate
from controlplane.usecases.pages import page_size
from controlplane.wire.common import money, nano_of
from controlplane.wire.instance import TIERS
from controlplane.wire.offer import (
    gpu_names,
    gpu_type_message,
    offer_message,
    outlook,
    requirements_of,
    skipped_message,
)
from controlplane.wire.template import template_message


class Offers:
    """Shows what can be rented now, in the currency of the caller's account: nothing else can be bought."""

    service = "gpuplane.v1.Offers"

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._core = plane.core
        self._pages = OfferPages(plane.core.offers, plane.tokens)
        self._currencies: dict[str, str] = {}
        self._prices: tuple[object, str, list[PriceRow]] = (None, "", [])

    async def _currency(self, call: Call) -> str:
        """The currency of the caller's account, which never changes."""
        account_id = call.principal.account_id
        known = self._currencies.get(account_id)
        if known is None:
            known = self._currencies[account_id] = await currency_of(self._core, call.principal)
        return known

    async def list_offers(self, request: pb.ListOffersRequest, call: Call) -> bytes:
        currency = await self._currency(call)
        template = await self._template(request.template_id) if request.template_id else None
        return self._pages.page(listing_of(request, currency, template), request, self._core.clock.now())

    async def get_offer(self, request: pb.GetOfferRequest, call: Call) -> offer_pb2.Offer:
        book, now = self._core.offers, self._core.clock.now()
        offer = book.get(request.id)
        if offer is None or offer.currency != await self._currency(call):
            raise not_found("offer", request.id, ON_THE_MARKET)
        return offer_message(offer, outlook(book.confidence(offer, now), book.freshness(offer.provider, now)))

    async def list_gpu_types(self, request: pb.ListGpuTypesRequest, call: Call) -> pb.ListGpuTypesResponse:
        currency = await self._currency(call)
        vendor = request.vendor.lower()
        by_type: dict[str, list[PriceRow]] = {}
        for row in self._price_rows(currency):
            by_type.setdefault(row.gpu_type, []).append(row)
        types = []
        for known in sorted(GPUS, key=lambda gpu: (gpu.vendor, gpu.name)):
            rows = by_type.get(known.name, ())
            if (vendor and known.vendor.lower() != vendor) or (request.offered_only and not rows):
                continue
            lowest = min((row.lowest_nano for row in rows), default=0)
            types.append(gpu_type_message(known, sum(row.offers for row in rows), lowest, currency))
        return pb.ListGpuTypesResponse(gpu_types=types)

    async def list_prices(self, request: pb.ListPricesRequest, call: Call) -> pb.ListPricesResponse:
        currency = await self._currency(call)
        types = gpu_names([request.gpu_type], "gpu_type") if request.gpu_type else ()
        return pb.ListPricesResponse(
            prices=[
                _summary(row, currency)
                for row in self._price_rows(currency)
                if (not types or row.gpu_type in types) and request.provider in ("", row.provider)
            ]
        )

    def _price_rows(self, currency: str) -> list[PriceRow]:
        """The table is made once a refresh: it takes a while where there are many offers."""
        index = self._core.offers.index
        if self._prices[:2] != (index, currency):
            self._prices = (index, currency, price_rows(index, currency))
        return self._prices[2]

    async def rank_offers(self, request: pb.RankOffersRequest, call: Call) -> pb.RankOffersResponse:
        currency = await self._currency(call)
        cap = (
            nano_of(request.max_price_per_hour, "max_price_per_hour", currency)
            if request.HasField("max_price_per_hour")
            else None
        )
        template = await self._template(request.template_id) if request.template_id else None
        ranking = market.ranked(self._core, requirements_of(request.requirements, currency), currency, cap, template)
        now = self._core.clock.now()
        return pb.RankOffersResponse(
            candidates=[self._candidate(each, now) for each in ranking.candidates[: page_size(request.page_size)]],
            skipped=map(skipped_message, ranking.skipped),
            total_size=ranking.total,
        )

    def _candidate(self, candidate: Candidate, now: int) -> pb.OfferCandidate:
        offer = candidate.offer
        freshness = self._core.offers.freshness(offer.provider, now)
        return pb.OfferCandidate(
            offer=offer_message(offer, outlook(candidate.confidence, freshness)),
            expected_price_per_hour=money(candidate.expected_price_nano, offer.currency),
        )

    async def list_templates(self, request: pb.ListTemplatesRequest, call: Call) -> pb.ListTemplatesResponse:
        name = request.name.lower()
        found = [
            template
            for template in self._core.offers.templates(request.provider)
            if name in template.name.lower() and (template.recommended or not request.recommended_only)
        ]
        key = ("templates", request.provider, name, request.recommended_only)
        return pb.ListTemplatesResponse(**self._template_page(found, key, request))

    async def list_compatible_templates(
        self, request: pb.ListCompatibleTemplatesRequest, call: Call
    ) -> pb.ListCompatibleTemplatesResponse:
        offer = self._core.offers.get(request.offer_id)
        if offer is None or offer.currency != await self._currency(call):
            raise not_found("offer", request.offer_id, ON_THE_MARKET)
        found = [template for template in self._core.offers.templates(offer.provider) if not template.unmet_by(offer)]
        return pb.ListCompatibleTemplatesResponse(**self._template_page(found, ("fitting", offer.id), request))

    def _template_page(self, found: list[Template], key: object, request: Any) -> dict[str, Any]:
        """By name and id, not by index: the list may be refreshed between two pages."""
        size, tokens = page_size(request.page_size), self._plane.tokens
        places = [(template.name.lower(), template.id) for template in found]
        start = 0
        if request.page_token:
            name, id = tokens.read_page(request.page_token, key)
            start = bisect_right(places, (name, id))
        shown, more = found[start : start + size], start + size < len(found)
        return {
            "templates": map(template_message, shown),
            "next_page_token": tokens.page(key, *places[start + size - 1]) if more else "",
            "total_size": len(found),
        }

    async def get_template(self, request: pb.GetTemplateRequest, call: Call) -> template_pb2.Template:
        return template_message(self._known(request.id))

    async def _template(self, id: str) -> Template:
        template = self._known(id)
        await self._core.offers.prepare(template)
        return template

    def _known(self, id: str) -> Template:
        template = self._core.offers.template(id)
        if template is None:
            raise not_found("template", id, ON_THE_MARKET)
        return template


def _summary(row: PriceRow, currency: str) -> offer_pb2.PriceSummary:
    return offer_pb2.PriceSummary(
        gpu_type=row.gpu_type,
        provider=row.provider,
        tier=TIERS[row.tier],
        offer_count=row.offers,
        available=row.available,
        lowest_price_per_hour=money(row.lowest_nano, currency),
        median_price_per_hour=money(row.median_nano, currency),
        highest_price_per_hour=money(row.highest_nano, currency),
    )
