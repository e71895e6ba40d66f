"""gpuplane.dialects.shopper.v1.Inventory: offers, and what runs on them."""

from __future__ import annotations

import math

from gpuplane.dialects.shopper.v1 import inventory_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.dialects.shared import rfc3339
from controlplane.api.dialects.shopper.listing import OfferList, listing_of
from controlplane.api.dialects.shopper.translate import offer_shown, template_in_short
from controlplane.api.plane import Plane, currency_of
from controlplane.domain.errors import not_found
from controlplane.domain.failures import FailureRecord, spared
from controlplane.domain.offer import Offer, Tier
from controlplane.domain.operation import Outcome
from controlplane.domain.template import Template
from controlplane.usecases.offer_confidence import FADED

FAILURE_TYPES = {
    Outcome.STOCKOUT: "stale_inventory",
    Outcome.TOO_DEAR: "stale_inventory",
    Outcome.REJECTED: "provision_failed",
    Outcome.NOT_READY: "ssh_timeout",
    Outcome.UNUSABLE: "instance_stopped",
}
"""The vendor's words for the outcomes that are remembered of an offer."""

NO_TEMPLATES = "Templates are only available for Vast.ai offers"


class Inventory:
    """Shows what can be rented, in the currency of the caller's account: nothing else can be bought."""

    service = "gpuplane.dialects.shopper.v1.Inventory"

    def __init__(self, plane: Plane) -> None:
        self._core = plane.core
        self._list = OfferList(plane.core.offers)

    async def list_offers(self, request: pb.ListOffersRequest, call: Call) -> bytes:
        listing = listing_of(request, self._core.providers)
        template = await self._template(request.template_hash_id) if request.template_hash_id else None
        currency = await currency_of(self._core, call.principal)
        return await self._list.page(listing, currency, template, self._core.clock.now())

    async def _template(self, hash_id: str) -> Template:
        template = self._core.offers.template(hash_id)
        if template is None:
            raise not_found("template", hash_id)
        await self._core.offers.prepare(template)
        return template

    async def get_offer(self, request: pb.GetOfferRequest, call: Call) -> pb.Offer:
        offer, book, now = await self._offer(request.id, call), self._core.offers, self._core.clock.now()
        shown = offer_shown(offer, offer.available > 0 and not book.resting(offer, now))
        shown.availability_confidence = book.confidence(offer, now)
        return shown

    async def _offer(self, id: str, call: Call) -> Offer:
        """An offer that lists can show."""
        offer = self._core.offers.get(id)
        if offer is None or offer.tier is not Tier.ON_DEMAND:
            raise not_found("offer", id)
        if offer.currency != await currency_of(self._core, call.principal):
            raise not_found("offer", id)
        return offer

    async def list_compatible_templates(
        self, request: pb.ListCompatibleTemplatesRequest, call: Call
    ) -> pb.CompatibleTemplates:
        offer = await self._offer(request.id, call)
        if offer.provider != "vastai":
            return pb.CompatibleTemplates(offer_id=offer.id, provider=offer.provider, note=NO_TEMPLATES)
        found = [each for each in self._core.offers.templates(offer.provider) if not each.unmet_by(offer)]
        return pb.CompatibleTemplates(
            offer_id=offer.id,
            compatible_templates=map(template_in_short, found),
            count=len(found),
            gpu_type=offer.gpu_type,
            vram_gb=offer.vram_gb,
        )

    async def list_offer_health(self, request: pb.ListOfferHealthRequest, _call: Call) -> pb.OfferHealthList:
        now = self._core.clock.now()
        offers: list[pb.OfferHealth] = []
        types: list[pb.GpuTypeHealth] = []
        for record in self._core.offers.failures():
            kind, _, name = record.id.partition("/")
            if record.rest_until <= now and record.score(now) < FADED:
                continue
            if kind == "offer":
                offers.append(self._offer_health(record, name, now))
            elif kind == "gpu":
                types.append(_type_health(record, name.partition("/")[2], now))
        offers = [
            each
            for each in offers
            if request.provider in ("", each.provider) and request.gpu_type in ("", each.gpu_type)
        ]
        for each in types:
            each.failed_offer_count = sum(f"{one.provider}:{one.gpu_type}" == each.gpu_type_key for one in offers)
        wanted = [each for each in types if _asked_for(each.gpu_type_key, request)]
        return pb.OfferHealthList(offers=offers, gpu_types=wanted, count=len(offers))

    def _offer_health(self, record: FailureRecord, offer_id: str, now: int) -> pb.OfferHealth:
        offer = self._core.offers.known(offer_id)
        rests = record.rest_until > now
        return pb.OfferHealth(
            offer_id=offer_id,
            provider=record.provider,
            gpu_type=offer.gpu_type if offer is not None else "",
            recent_failures=math.ceil(record.score(now)),
            is_suppressed=rests,
            suppressed_until=rfc3339(record.rest_until) if rests else None,
            confidence_multiplier=0.0 if rests else round(spared(record.score(now)), 3),
            last_failure=rfc3339(record.at),
            last_failure_type=FAILURE_TYPES[Outcome(record.cause)],
        )


def _type_health(record: FailureRecord, gpu_type: str, now: int) -> pb.GpuTypeHealth:
    left = round(spared(record.score(now)), 3)
    return pb.GpuTypeHealth(
        gpu_type_key=f"{record.provider}:{gpu_type}", is_degraded=left < 1, degradation_applied=left
    )


def _asked_for(key: str, request: pb.ListOfferHealthRequest) -> bool:
    provider, _, gpu_type = key.partition(":")
    return request.provider in ("", provider) and request.gpu_type in ("", gpu_type)
