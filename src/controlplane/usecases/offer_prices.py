"""Views of the market's prices: what one GPU of each type costs, and where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controlplane.domain.offer import Tier
from controlplane.usecases.offer_columns import Rows
from controlplane.usecases.offer_index import OfferIndex


@dataclass(frozen=True, slots=True)
class PriceRow:
    """The offers of one GPU type at one provider in one tier. Prices are nano-units per hour of one GPU (of a whole
    machine where it has none), rounded up; the median is a price that is asked, the lower of the two middle ones."""

    gpu_type: str
    provider: str
    tier: Tier
    offers: int
    available: int
    lowest_nano: int
    median_nano: int
    highest_nano: int


def price_rows(index: OfferIndex, currency: str) -> list[PriceRow]:
    """All rows of a currency, by GPU type, provider and tier."""
    rows = np.flatnonzero(index.texts["currency"].equal(currency))
    if not len(rows):
        return []
    columns = [index.texts[name] for name in ("gpu_type", "provider", "tier")]
    group = np.zeros(len(rows), np.int64)
    for column in columns:
        group = group * len(column.values) + column.codes[rows]
    prices = _of_one_gpu(index, rows)
    order = np.lexsort((prices, group))
    starts = np.flatnonzero(np.r_[True, np.diff(group[order]) != 0])
    ends = np.r_[starts[1:], len(rows)]
    units = np.add.reduceat(index.numbers["available"].array(rows)[order], starts)
    found = []
    for start, end, available in zip(starts.tolist(), ends.tolist(), units.tolist(), strict=True):
        gpu_type, provider, tier = (column.at(int(rows[order[start]])) for column in columns)
        low, middle, high = (int(prices[order[at]]) for at in (start, (start + end - 1) // 2, end - 1))
        found.append(PriceRow(gpu_type, provider, Tier(tier), end - start, available, low, middle, high))
    return found


def _of_one_gpu(index: OfferIndex, rows: Rows) -> NDArray[np.int64]:
    gpus = np.maximum(1, index.numbers["gpu_count"].array(rows))
    return -(-index.numbers["price_nano_per_hour"].array(rows) // gpus)
