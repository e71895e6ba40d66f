"""gpuplane.v1.Offers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Any

from gpuplane.v1 import offer_pb2
from gpuplane.v1 import offer_service_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.canonical.shapes import Plane, currency_of
from controlplane.domain.errors import invalid, not_found
from controlplane.domain.gpus import GPUS
from controlplane.domain.offer import Offer
from controlplane.usecases.pages import page_size
from controlplane.wire.common import money
from controlplane.wire.offer import offer_message, requirements_of

_ORDERS: dict[str, Callable[[Offer], float]] = {
    "price_per_hour": lambda offer: offer.price_nano_per_hour,
    "reliability": lambda offer: offer.reliability or 0.0,
    "vram_gb": lambda offer: offer.vram_gb,
    "gpu_count": lambda offer: offer.gpu_count,
}


class Offers:
    """Shows what can be rented now, in the currency of the caller's account: nothing else can be bought."""

    service = "gpuplane.v1.Offers"

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._core = plane.core

    async def list_offers(self, request: pb.ListOffersRequest, call: Call) -> pb.ListOffersResponse:
        currency = await currency_of(self._core, call.principal)
        position = _order(request.order_by)
        matching = self._core.offers.matching(requirements_of(request.requirements, currency), currency)
        ranked = sorted((position(offer), offer.id, offer) for offer in matching)
        size, tokens = page_size(request.page_size), self._plane.tokens
        key = ("offers", currency, request.order_by, request.requirements.SerializeToString(deterministic=True))
        start = 0
        if request.page_token:
            # By position and id, not by index: the market moves between two pages.
            at, id = tokens.read_page(request.page_token, key)
            start = bisect_right(ranked, (float(at), id), key=lambda entry: entry[:2])
        shown = ranked[start : start + size]
        more = start + size < len(ranked)
        return pb.ListOffersResponse(
            offers=[offer_message(offer) for _, _, offer in shown],
            next_page_token=tokens.page(key, repr(shown[-1][0]), shown[-1][1]) if more else "",
            total_size=len(ranked),
        )

    async def get_offer(self, request: pb.GetOfferRequest, call: Call) -> offer_pb2.Offer:
        offer = self._core.offers.get(request.id)
        if offer is None or offer.currency != await currency_of(self._core, call.principal):
            raise not_found("offer", request.id)
        return offer_message(offer)

    async def list_gpu_types(self, request: pb.ListGpuTypesRequest, call: Call) -> pb.ListGpuTypesResponse:
        currency = await currency_of(self._core, call.principal)
        vendor = request.vendor.lower()
        market = _market(offer for offer in self._core.offers if offer.currency == currency)
        rows = []
        for gpu in sorted(GPUS, key=lambda gpu: (gpu.vendor, gpu.name)):
            count, lowest = market.get(gpu.name, (0, 0))
            if (vendor and gpu.vendor.lower() != vendor) or (request.offered_only and not count):
                continue
            fields: dict[str, Any] = {"class": gpu.tier}  # a keyword of Python
            row = offer_pb2.GpuType(
                name=gpu.name,
                slug=gpu.slug,
                vendor=gpu.vendor,
                architecture=gpu.architecture,
                vram_gb=gpu.vram_gb,
                offer_count=count,
                **fields,
            )
            if count:
                row.lowest_price_per_hour.CopyFrom(money(lowest, currency))
            rows.append(row)
        return pb.ListGpuTypesResponse(gpu_types=rows)


def _order(order_by: str) -> Callable[[Offer], float]:
    field, _, direction = (order_by or "price_per_hour").partition(" ")
    value = _ORDERS.get(field)
    if value is None or direction not in ("", "asc", "desc"):
        names = ", ".join(_ORDERS)
        raise invalid("order_by", f"must be one of {names}, optionally followed by ` desc`", order_by)
    if direction == "desc":
        return lambda offer: -value(offer)
    return value


def _market(offers: Iterable[Offer]) -> dict[str, tuple[int, int]]:
    """Number of offers and lowest price of one GPU, by GPU type."""
    found: dict[str, tuple[int, int]] = {}
    for offer in offers:
        one = -(-offer.price_nano_per_hour // max(1, offer.gpu_count))
        count, lowest = found.get(offer.gpu_type, (0, one))
        found[offer.gpu_type] = (count + 1, min(lowest, one))
    return found
