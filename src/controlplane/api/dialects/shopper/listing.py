"""The inventory's list: filters read, rows found and put in order, pages joined from serialized offers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from gpuplane.dialects.shopper.v1 import inventory_pb2 as pb

from controlplane.api.dialects.shopper.translate import fraction, offer_shown, whole
from controlplane.api.pages import joined
from controlplane.domain.errors import invalid
from controlplane.domain.gpus import matching as spelled
from controlplane.domain.money import NANO
from controlplane.domain.offer import Tier
from controlplane.domain.requirements import Requirements
from controlplane.domain.template import Template
from controlplane.usecases.offer_index import OfferIndex
from controlplane.usecases.offer_match import matching
from controlplane.usecases.offerbook import OfferBook

PROVIDERS = ("vastai", "tensordock")
"""Those that the seed names: known here whether this deployment has them or not."""

MOST = 10_000
_AT_A_TIME = 250  # offers serialized before others get a turn


@dataclass(frozen=True, slots=True)
class Listing:
    """What is asked for."""

    wanted: Requirements
    limit: int
    offset: int


def listing_of(request: pb.ListOffersRequest, providers: Collection[str]) -> Listing:
    """A request, checked; `providers` are those of this deployment."""
    known = sorted({*PROVIDERS, *providers})
    if request.provider and request.provider not in known:
        raise invalid("provider", f"must be one of {', '.join(known)}", request.provider)
    if request.template_hash_id and request.provider not in ("", "vastai"):
        raise invalid("provider", "must be vastai or absent beside template_hash_id", request.provider)
    least = "must not be negative"
    aliases = [whole(getattr(request, name), name, 0, least) for name in ("min_gpu_count", "gpu_count")]
    price = fraction(request.max_price, "max_price")
    limit = whole(request.limit, "limit", 1, "must be positive")
    return Listing(
        Requirements(
            gpu_types=_types(request.gpu_type),
            tier=Tier.ON_DEMAND,  # a machine that may be taken back is lent only to those who ask for one
            providers=(request.provider,) if request.provider else (),
            locations=(request.location.lower(),) if request.location else (),
            min_vram_gb=whole(request.min_vram, "min_vram", 0, least) or 0,
            max_price_nano_per_hour=None if price is None else int(price * NANO),
            min_gpu_count=next((count for count in aliases if count is not None), 0),
            min_reliability=float(fraction(request.min_reliability, "min_reliability", 1) or 0),
            min_confidence=float(fraction(request.min_availability_confidence, "min_availability_confidence", 1) or 0),
            min_cuda_version=float(fraction(request.min_cuda, "min_cuda") or 0),
        ),
        MOST if limit is None else min(limit, MOST),
        whole(request.offset, "offset", 0, least) or 0,
    )


def _types(spelling: str) -> tuple[str, ...]:
    """The canonical types that a spelling means, or the spelling, which an offer of an unknown type may have."""
    return tuple(gpu.name for gpu in spelled(spelling)) or (spelling,) if spelling else ()


class OfferList:
    """Makes pages of the offers on the market."""

    def __init__(self, book: OfferBook) -> None:
        self._book = book
        self._bodies: WeakKeyDictionary[OfferIndex, dict[int, bytes]] = WeakKeyDictionary()

    async def page(self, listing: Listing, currency: str, template: Template | None, now: int) -> bytes:
        """One page as a serialized OfferPage: by confidence, and then by price."""
        index, outlook = self._book.index, self._book.outlook(self._book.view(now))
        mask = matching(index, listing.wanted, currency) & self._book.sellable(now)
        if template is not None:
            mask &= index.fitting(template)
        rows = np.flatnonzero(mask)  # the cheapest first, as they stand in the index
        confidence = outlook.all(rows)
        if listing.wanted.min_confidence:
            sure = confidence >= listing.wanted.min_confidence
            rows, confidence = rows[sure], confidence[sure]
        page = np.argsort(-confidence, kind="stable")[listing.offset : listing.offset + listing.limit]
        bodies = await self._messages(index, rows[page].tolist(), confidence[page].tolist())
        return joined(pb.OfferPage.OFFERS_FIELD_NUMBER, bodies, pb.OfferPage(count=len(bodies), total=len(rows)))

    async def _messages(self, index: OfferIndex, rows: list[int], confidence: list[float]) -> list[bytes]:
        """Offers as of now. What a refresh does not change is serialized once, and never long at a time."""
        bodies = self._bodies.setdefault(index, {})
        said = {worth: pb.Offer(availability_confidence=worth).SerializeToString() for worth in set(confidence)}
        fresh = 0
        for row in rows:
            if row not in bodies:
                bodies[row] = offer_shown(index.offers[row], available=True).SerializeToString()
                fresh += 1
                if not fresh % _AT_A_TIME:
                    await asyncio.sleep(0)
        # Serialized messages of one type may be joined, and so merge.
        return [bodies[row] + said[worth] for row, worth in zip(rows, confidence, strict=True)]
