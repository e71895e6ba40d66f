"""Checking an offer's price in the moment of its purchase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from controlplane.adapters.providers.http import Batcher, MarketplaceClient
from controlplane.adapters.providers.vastai import offers, wire
from controlplane.adapters.providers.vastai.offers import Price
from controlplane.domain.money import NANO
from controlplane.domain.offer import Tier
from controlplane.ports.provider import LaunchSpec, Stockout, TooDear

CHECK_S = 25.0
_OFFERS_AT_ONCE = 64
_BID_STEP = NANO // 1000


@dataclass(frozen=True, slots=True)
class Purchase:
    """What is bought, at which price."""

    ask_id: str
    price: Price


class PriceCheck:
    """Asks for the present prices of offers; purchases that wait for the search's turn share it."""

    def __init__(self, client: MarketplaceClient) -> None:
        self._client = client
        self._batchers = {tier: self._batcher(tier) for tier in Tier}

    async def check(self, spec: LaunchSpec, disk_gb: int) -> Purchase | Stockout | TooDear:
        """The purchase as it may go ahead now, or why it may not. Raises ProviderError."""
        parsed = offers.parse_offer_id(spec.offer.id)
        if parsed is None:
            return Stockout("it is no offer of this marketplace")
        ask_id, tier = parsed
        row = await self._batchers[tier].get(ask_id)
        price = None if row is None else offers.price_of(row, tier, disk_gb)
        if price is None:
            return Stockout("the offer is gone")
        capped = within(price, spec.max_price_nano_per_hour)
        return TooDear(price.total) if capped is None else Purchase(ask_id, capped)

    def close(self) -> None:
        """Let go of who waits."""
        for batcher in self._batchers.values():
            batcher.close()

    def _batcher(self, tier: Tier) -> Batcher[Mapping[str, Any]]:
        async def turn() -> None:
            await self._client.admit("price", within_s=CHECK_S)

        async def fetch(ask_ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
            # The disk is priced by us: purchases that share a search may differ in it.
            answer = await self._client.request(
                "price", "POST", wire.BUNDLES, json=offers.search(tier, 0, ask_ids), safe=True, admitted=True,
                deadline_s=CHECK_S,
            )  # fmt: skip
            return {offers.ask_id_of(row): row for row in wire.rows(answer, "offers") if offers.ask_id_of(row)}

        return Batcher(turn, fetch, _OFFERS_AT_ONCE)


def within(price: Price, cap: int | None) -> Price | None:
    """The price within a cap: a bid is lowered for it, though not below the least. None if it cannot be."""
    if cap is None or price.total <= cap:
        return price
    if price.bid is None or price.least_bid is None:
        return None
    bid = (cap - price.storage) // _BID_STEP * _BID_STEP
    return replace(price, gpu=bid, bid=bid) if bid >= price.least_bid else None
