"""Which offers would be bought first, and why others would not be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controlplane.domain.offer import Offer
from controlplane.domain.operation import SkippedOffers
from controlplane.domain.requirements import Requirements
from controlplane.domain.template import Template
from controlplane.usecases.offer_columns import Mask, Rows
from controlplane.usecases.offer_confidence import Outlook
from controlplane.usecases.offer_index import OfferIndex
from controlplane.usecases.offer_match import tests, too_dear

BEING_BOUGHT = "being bought"
MOST_CANDIDATES, MOST_REASONS = 1000, 32
_LEAST_CHANCE = 0.05  # below this an offer is not made dearer any more


@dataclass(frozen=True, slots=True)
class Candidate:
    """An offer that would do. `expected_price_nano` is its price per hour divided by the chance that it can be had and
    lasts: what the ranking goes by, never what is paid."""

    offer: Offer
    confidence: float
    expected_price_nano: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """At most 1,000 candidates, best first, of `total`; and what was left out, of the wanted hardware only."""

    candidates: tuple[Candidate, ...]
    skipped: tuple[SkippedOffers, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Moment:
    """What is true now and will not be in a minute. Masks are of rows."""

    outlook: Outlook
    resting: Mask  # not to be tried yet
    claimed: Mask  # as many purchases under way as there are units
    stale: frozenset[str]  # providers whose pages are too old to sell from
    shut: Mapping[str, str]  # providers that are no use to this buyer now, and why


def rank(
    index: OfferIndex, wanted: Requirements, currency: str, moment: Moment, cap: int | None, template: Template | None
) -> Ranking:
    """A preferred offer comes first, then preferred regions, in their order; then the lowest expected price, the lowest
    price, and the id."""
    left, skipped = np.ones(len(index), np.bool_), dict[str, Mask]()
    for test in tests(wanted, currency):
        met = test.met(index)
        if not test.hardware:
            skipped[test.why] = left & ~met
        left &= met
    for why, met in _conditions(index, wanted, moment, cap, template).items():
        skipped[why] = skipped.get(why, False) | (left & ~met)  # a cap may be stated twice
        left &= met
    rows = np.flatnonzero(left)
    expected = _expected(index, moment.outlook, rows)
    order = _best(_preference(index, wanted, rows), expected)
    chosen = rows[order].tolist()
    return Ranking(
        tuple(
            Candidate(index.offers[row], confidence, int(price))
            for row, confidence, price in zip(
                chosen, moment.outlook.of_rows(chosen), expected[order].tolist(), strict=True
            )
        ),
        tuple(_counted(index, skipped)[:MOST_REASONS]),
        len(rows),
    )


def _conditions(
    index: OfferIndex, wanted: Requirements, moment: Moment, cap: int | None, template: Template | None
) -> Mapping[str, Mask]:
    """What must hold beside the requirements, by the words for its failing."""
    found = {}
    if cap is not None:
        test = too_dear(cap)
        found[test.why] = test.met(index)
    if template is not None:
        found["template does not run there"] = index.fitting(template)
    found["stale"] = ~index.texts["provider"].where(moment.stale.__contains__)
    providers = index.texts["provider"]
    for why in dict.fromkeys(moment.shut.values()):
        names = frozenset(name for name, reason in moment.shut.items() if reason == why)
        found[why] = ~providers.where(names.__contains__)
    if wanted.min_confidence:
        found["too uncertain"] = moment.outlook.compare(">=", wanted.min_confidence)
    # An offer that failed a moment ago is still asked for when it is named.
    found["resting"] = ~moment.resting | _is_preferred(index, wanted)
    found[BEING_BOUGHT] = ~moment.claimed
    return found


def _expected(index: OfferIndex, outlook: Outlook, rows: Rows) -> NDArray[np.float64]:
    """Expected prices. Floats: they order offers, and nobody pays them."""
    prices = index.numbers["price_nano_per_hour"].floats(rows, 0.0)
    reliability = index.numbers["reliability"].floats(rows, 1.0)
    reliability[reliability <= 0.0] = 1.0  # no figure either
    return prices / np.maximum(_LEAST_CHANCE, outlook.all(rows) * reliability)


def _preference(index: OfferIndex, wanted: Requirements, rows: Rows) -> NDArray[np.int64]:
    regions, column = wanted.preferred_regions, index.texts["region"]
    places = [regions.index(word) if word in regions else len(regions) for word in column.values]
    preference = np.array(places, np.int64)[column.codes[rows]]
    if wanted.preferred_offer:
        preference[_is_preferred(index, wanted)[rows]] = -1
    return preference


def _is_preferred(index: OfferIndex, wanted: Requirements) -> Mask:
    found: Mask = np.zeros(len(index), np.bool_)
    offer = index.get(wanted.preferred_offer)
    if offer is not None:
        found[index.rows_of(offer.provider, "offer", offer.id)] = True
    return found


def _best(preference: NDArray[np.int64], expected: NDArray[np.float64]) -> Rows:
    """The first places; the rows come by price and id, and a stable sort keeps that among equals."""
    if len(expected) > MOST_CANDIDATES and not preference.any():
        bar = np.partition(expected, MOST_CANDIDATES)[MOST_CANDIDATES]
        few = np.flatnonzero(expected <= bar)
        return few[np.argsort(expected[few], kind="stable")][:MOST_CANDIDATES]
    return np.lexsort((expected, preference))[:MOST_CANDIDATES]


def _counted(index: OfferIndex, skipped: Mapping[str, Mask]) -> list[SkippedOffers]:
    """Reasons with the number of offers and the cheapest of them."""
    counts = {why: int(np.count_nonzero(mask)) for why, mask in skipped.items()}
    return [
        SkippedOffers(why, count, index.offers[int(skipped[why].argmax())].id) for why, count in counts.items() if count
    ]
