"""What one provider was last seen to offer, in columns."""

from __future__ import annotations

from operator import attrgetter

import numpy as np

from controlplane.domain.offer import Offer
from controlplane.domain.template import Template
from controlplane.usecases.offer_columns import Mask, NumberColumn, Rows, TextColumn

COUNTS = ("gpu_count", "vram_gb", "cpu_count", "memory_gb", "disk_gb", "available")
NUMBERS: dict[str, type[np.generic]] = {
    **dict.fromkeys((*COUNTS, "price_nano_per_hour", "simulated"), np.int64),
    **dict.fromkeys(("reliability", "cuda_version"), np.float64),
}
TEXTS = ("provider", "gpu_type", "region", "location", "tier", "currency")
LONGEST_ID = 200
_DEAREST = 2**62
_MOST_MASKS = 64
_COUNTS = attrgetter(*COUNTS)


class OfferPage:
    """The offers of one provider as of `fetched_at` (microseconds). It never changes: a refresh makes another."""

    def __init__(self, provider: str, offers: tuple[Offer, ...], fetched_at: int) -> None:
        sound = {offer.id: offer for offer in offers if _countable(offer)}
        self.provider = provider
        self.fetched_at = fetched_at
        self.offers = tuple(sound.values())
        self._rows = dict(zip(sound, range(len(sound)), strict=True))
        count = len(self.offers)
        self.ids = np.array(list(sound), np.str_)
        self.numbers = {
            name: NumberColumn.of(map(attrgetter(name), self.offers), dtype, count) for name, dtype in NUMBERS.items()
        }
        self.texts = {name: TextColumn.of(map(attrgetter(name), self.offers), count) for name in TEXTS}
        self._hosts = TextColumn.of(map(attrgetter("vendor_host"), self.offers), count)
        self._fitting: dict[str, tuple[Template, Mask]] = {}

    def row(self, id: str) -> int | None:
        """Where an offer stands in this page."""
        return self._rows.get(id)

    def host_rows(self, host: str) -> Rows:
        """Where the offers of a host stand in this page."""
        return np.flatnonzero(self._hosts.equal(host))

    def gpu_rows(self, gpu_type: str) -> Rows:
        """Where the offers of a GPU type stand in this page."""
        return np.flatnonzero(self.texts["gpu_type"].equal(gpu_type))

    def fitting(self, template: Template) -> Mask:
        """The rows that meet a template's constraints, kept for the next who asks. Offers that state the same facts
        are asked once."""
        kept = self._fitting.get(template.id)
        if kept is None or kept[0] != template:
            if len(self._fitting) >= _MOST_MASKS:
                self._fitting.clear()
            kept = self._fitting[template.id] = (template, self._meeting(template))
        return kept[1]

    def _meeting(self, template: Template) -> Mask:
        if template.provider != self.provider:
            return np.zeros(len(self.offers), np.bool_)
        names = tuple(dict.fromkeys(constraint.fact for constraint in template.constraints))
        answers: dict[tuple[object, ...], bool] = {}

        def meets(offer: Offer) -> bool:
            stated = tuple(map(offer.facts.get, names))
            found = answers.get(stated)
            if found is None:
                found = answers[stated] = not template.unmet_by(offer)
            return found

        return np.fromiter(map(meets, self.offers), np.bool_, len(self.offers))


def _countable(offer: Offer) -> bool:
    """Whether the numbers fit the columns and the API's fields; no offer that anybody could rent fails this."""
    return (
        len(offer.id) <= LONGEST_ID
        and 0 <= offer.price_nano_per_hour < _DEAREST
        and min(_COUNTS(offer)) >= 0
        and max(_COUNTS(offer)) < 2**31
    )
