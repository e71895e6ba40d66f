"""The offer book: what every provider was last seen to offer. In memory; rebuilt within seconds of a start."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.domain.offer import Offer
from controlplane.domain.requirements import Requirements


class OfferBook:
    """Offers by provider and by id."""

    def __init__(self) -> None:
        self._by_provider: dict[str, tuple[Offer, ...]] = {}
        self._by_id: dict[str, Offer] = {}
        self._by_price: tuple[Offer, ...] = ()

    def update(self, provider: str, offers: tuple[Offer, ...]) -> None:
        """Replace what one provider offers."""
        self._by_provider[provider] = offers
        self._by_id = {offer.id: offer for each in self._by_provider.values() for offer in each}
        self._by_price = tuple(sorted(self._by_id.values(), key=lambda o: (o.price_nano_per_hour, o.id)))

    def get(self, id: str) -> Offer | None:
        """One offer, if it is on the market."""
        return self._by_id.get(id)

    def __iter__(self) -> Iterator[Offer]:
        """All offers, cheapest first."""
        return iter(self._by_price)

    def matching(self, requirements: Requirements, currency: str) -> list[Offer]:
        """Offers in that currency that meet the requirements: preferred regions first, and then the cheapest."""
        found = [o for o in self._by_price if o.currency == currency and not requirements.unmet_by(o)]
        return sorted(found, key=requirements.rank) if requirements.preferred_regions else found

    @property
    def loaded(self) -> bool:
        """Whether any provider was asked yet."""
        return bool(self._by_provider)
