"""Pages of offers, joined from serialized messages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from gpuplane.v1 import offer_service_pb2 as pb

from controlplane.api.pages import nested
from controlplane.domain.errors import invalid
from controlplane.domain.requirements import Requirements
from controlplane.domain.template import Template
from controlplane.usecases.offer_columns import Mask, every
from controlplane.usecases.offer_confidence import OutlookOrder
from controlplane.usecases.offer_filter import OfferFilter, read_filter
from controlplane.usecases.offer_index import ORDERS, OfferIndex, Order
from controlplane.usecases.offer_match import matching
from controlplane.usecases.offerbook import OfferBook, View
from controlplane.usecases.pages import page_size
from controlplane.usecases.tokens import Tokens
from controlplane.wire.offer import offer_body, outlook, requirements_of

_ORDERS = (*ORDERS, "confidence")


@dataclass(frozen=True, slots=True)
class Listing:
    """What is listed, and in which order. `key` is what page tokens are bound to."""

    key: object
    wanted: Requirements
    currency: str
    filter: OfferFilter | None
    template: Template | None
    order: str
    descending: bool

    @property
    def by_confidence(self) -> bool:
        """Whether pages must keep the confidence of the first."""
        return (
            self.order == "confidence"
            or self.wanted.min_confidence > 0
            or (self.filter is not None and self.filter.by_confidence)
        )


def listing_of(request: pb.ListOffersRequest, currency: str, template: Template | None) -> Listing:
    """What a request asks for, checked."""
    order, descending = _order(request.order_by)
    key = (
        "offers", currency, request.order_by, request.filter, request.template_id,
        request.requirements.SerializeToString(deterministic=True),
    )  # fmt: skip
    wanted = requirements_of(request.requirements, currency) if request.HasField("requirements") else Requirements()
    return Listing(key, wanted, currency, read_filter(request.filter), template, order, descending)


def _order(order_by: str) -> tuple[str, bool]:
    field, _, direction = (order_by or "price_per_hour").partition(" ")
    if field not in _ORDERS or direction not in ("", "asc", "desc"):
        raise invalid("order_by", f"must be one of {', '.join(_ORDERS)}, optionally followed by ` desc`", order_by)
    return field, direction == "desc"


class OfferPages:
    """Makes pages. A cursor is the value of the order's field and the id of the last offer, never an index: the market
    moves between two pages. Where the confidence matters the cursor also carries the first page's view of it."""

    def __init__(self, book: OfferBook, tokens: Tokens) -> None:
        self._book = book
        self._tokens = tokens
        self._bodies: WeakKeyDictionary[OfferIndex, dict[int, tuple[bytes, bytes]]] = WeakKeyDictionary()

    def page(self, listing: Listing, request: pb.ListOffersRequest, now: int) -> bytes:
        """One page of a listing as a serialized ListOffersResponse."""
        size = page_size(request.page_size)
        after: tuple[str, str] | None = None
        present = self._book.view(now)
        view = present
        if request.page_token:
            value, id, *kept = self._tokens.read_page(request.page_token, listing.key)
            after = (value, id)
            view = View(**json.loads(kept[0])) if kept else present
        mask = self._mask(listing, view)
        order = self._order(listing, view)
        rows = order.first(mask, size + 1, after)
        shown = rows[:size]
        token = self._token(listing, view, order.position(shown[-1])) if len(rows) > size else ""
        rest = pb.ListOffersResponse(next_page_token=token, total_size=int(np.count_nonzero(mask)))
        return b"".join((*self._messages(shown, present), rest.SerializeToString()))

    def _order(self, listing: Listing, view: View) -> Order | OutlookOrder:
        if listing.order == "confidence":
            return OutlookOrder(self._book.outlook(view), listing.descending)
        return self._book.index.orders[listing.order, listing.descending]

    def _mask(self, listing: Listing, view: View) -> Mask:
        index = self._book.index
        masks = [matching(index, listing.wanted, listing.currency)]
        if listing.wanted.min_confidence:
            masks.append(self._book.outlook(view).compare(">=", listing.wanted.min_confidence))
        if listing.filter is not None:
            masks.append(listing.filter.select(index, lambda: self._book.outlook(view)))
        if listing.template is not None:
            masks.append(index.fitting(listing.template))
        return every(masks)

    def _token(self, listing: Listing, view: View, position: tuple[str, str]) -> str:
        kept = [json.dumps({"at": view.at, "worths": view.worths})] if listing.by_confidence else []
        return self._tokens.page(listing.key, *position, *kept)

    def _messages(self, rows: list[int], view: View) -> list[bytes]:
        """Offers as of now, as they stand in a page. What has not changed since it was last shown is not made again."""
        index = self._book.index
        bodies = self._bodies.get(index)
        if bodies is None:
            bodies = self._bodies[index] = {}
        freshness = [self._book.freshness(name, view.at).value for name in index.texts["provider"].values]
        providers = index.texts["provider"].codes
        messages = []
        for row, confidence in zip(rows, self._book.outlook(view).of_rows(rows), strict=True):
            said = outlook(confidence, freshness[providers[row]])
            shown = bodies.get(row)
            if shown is None or shown[0] is not said:
                whole = offer_body(index.offers[row]) + said
                shown = bodies[row] = (said, nested(pb.ListOffersResponse.OFFERS_FIELD_NUMBER, whole))
            messages.append(shown[1])
        return messages
