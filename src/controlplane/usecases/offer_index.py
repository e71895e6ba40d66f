"""All offers in one order, in columns: what listings, rankings and price views search."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controlplane.domain.offer import Offer
from controlplane.domain.template import Template
from controlplane.usecases.offer_columns import Mask, NumberColumn, Rows, TextColumn
from controlplane.usecases.offer_page import NUMBERS, TEXTS, OfferPage

ORDERS = {"price_per_hour": "price_nano_per_hour"} | {n: n for n in ("reliability", "vram_gb", "gpu_count")}
"""Fields that offers can be ordered by, and their columns."""

ID_BITS = 32  # of a key of an order; the value's rank is above
_CHUNK = 4096


class OfferIndex:
    """The pages of all providers together. Row 0 is the cheapest; equal prices stand by id. It never changes."""

    def __init__(self, pages: Sequence[OfferPage]) -> None:
        self.pages = {page.provider: page for page in sorted(pages, key=lambda page: page.provider)}
        ordered = list(self.pages.values()) or [OfferPage("", (), 0)]
        ids = np.concatenate([page.ids for page in ordered])
        by_id = np.argsort(ids, kind="stable")
        rank = np.empty(len(ids), np.int64)
        rank[by_id] = np.arange(len(ids))
        prices = np.concatenate([page.numbers["price_nano_per_hour"].array() for page in ordered])
        self._source: Rows = np.lexsort((rank, prices))
        self._place: Rows = np.argsort(self._source, kind="stable")
        self._id_rank: NDArray[np.int64] = rank[self._source]
        self._id_order: Rows = self._place[by_id]
        offers = np.empty(len(ids), object)
        offers[:] = [offer for page in ordered for offer in page.offers]
        self.offers: list[Offer] = offers[self._source].tolist()
        self._starts = dict(
            zip(self.pages, np.cumsum([0, *(len(page.offers) for page in ordered)]).tolist(), strict=False)
        )
        self.numbers = {
            name: NumberColumn.merged([page.numbers[name] for page in ordered], self._source) for name in NUMBERS
        }
        self.texts = {name: TextColumn.merged([page.texts[name] for page in ordered], self._source) for name in TEXTS}
        self.orders = {
            (name, descending): self._order(self.numbers[column], descending)
            for name, column in ORDERS.items()
            for descending in (False, True)
        }

    def __len__(self) -> int:
        return len(self.offers)

    def get(self, id: str) -> Offer | None:
        """The offer of that id."""
        for page in self.pages.values():
            row = page.row(id)
            if row is not None:
                return page.offers[row]
        return None

    def rows_of(self, provider: str, kind: str, name: str) -> Rows:
        """The rows of what a provider calls so: kind is offer (by our id), host or gpu."""
        page = self.pages.get(provider)
        if page is None:
            return np.array([], np.intp)
        if kind == "offer":
            row = page.row(name)
            local = np.array([row] if row is not None else [], np.intp)
        else:
            local = page.host_rows(name) if kind == "host" else page.gpu_rows(name)
        places: Rows = self._place[local + self._starts[provider]]
        return places

    def fitting(self, template: Template) -> Mask:
        """The rows that meet a template's constraints."""
        found = np.zeros(len(self), np.bool_)
        page = self.pages.get(template.provider)
        if page is not None:
            start = self._starts[page.provider]
            found[self._place[start : start + len(page.offers)]] = page.fitting(template)
        return found

    def id_rank(self, rows: Rows) -> NDArray[np.int64]:
        """Where the ids of some rows stand among all ids."""
        return self._id_rank[rows]

    def rank_after(self, id: str) -> int:
        """How many ids are not after this one, which need not be on the market any more."""
        low, high = 0, len(self.offers)
        while low < high:
            middle = (low + high) // 2
            if self.offers[self._id_order[middle]].id <= id:
                low = middle + 1
            else:
                high = middle
        return low

    def _order(self, column: NumberColumn, descending: bool) -> Order:
        distinct = len(column.values)
        codes = column.codes.astype(np.int64)
        ranks = np.where(codes == distinct, 0, codes + 1)  # what is unknown counts as least
        keys = ((distinct - ranks if descending else ranks) << ID_BITS) | self._id_rank
        rows = np.argsort(keys, kind="stable")
        cheapest_first = column is self.numbers["price_nano_per_hour"] and not descending
        return Order(self, column, descending, cheapest_first, rows, keys[rows])


@dataclass(frozen=True, slots=True)
class Order:
    """Rows by the value of a column and then by id. Positions are values and ids, so that they outlive the index."""

    index: OfferIndex
    column: NumberColumn
    descending: bool
    cheapest_first: bool
    rows: Rows
    keys: NDArray[np.int64]

    def first(self, mask: Mask, count: int, after: tuple[str, str] | None) -> list[int]:
        """The first rows of the mask, behind a position that `position` gave or from the beginning."""
        start = self._start(*after) if after else 0
        found: list[int] = []
        for begin, end in ((start, start + _CHUNK), (start + _CHUNK, len(self.rows))):
            if self.cheapest_first:  # the order of the rows themselves
                rows = mask[begin:end].nonzero()[0] + begin
            else:
                rows = self.rows[begin:end]
                rows = rows[mask[rows]]
            found += rows[: count - len(found)].tolist()
            if len(found) == count:
                break
        return found

    def position(self, row: int) -> tuple[str, str]:
        """Value and id of a row."""
        value = self.column.at(row)
        return "" if value is None else repr(value), self.index.offers[row].id

    def _start(self, value: str, id: str) -> int:
        """How many rows stand at or before a value and id."""
        values, distinct = self.column.values, len(self.column.values)
        below = bisect_left(values, json.loads(value)) if value else -1
        there = not value or (below < distinct and repr(values[below]) == value)
        rank = below + 1 if there else below + (0 if self.descending else 1)
        rank = distinct - rank if self.descending else rank
        return int(np.searchsorted(self.keys, (rank << ID_BITS) | (self.index.rank_after(id) if there else 0)))
