"""The simulated Vast.ai, whole."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.simulators.calls import Route
from controlplane.simulators.vastai.account import Account
from controlplane.simulators.vastai.keeping import Keeping
from controlplane.simulators.vastai.listing import Listing
from controlplane.simulators.vastai.renting import Renting
from controlplane.simulators.vastai.search import Search
from controlplane.simulators.vastai.shopper import Shopper
from controlplane.simulators.vastai.state import VastState
from controlplane.simulators.wire import Request, Response


class VastMarketplace(VastState):
    """The model with its API."""

    def routes(self) -> Sequence[Route]:
        """See `Marketplace.routes`."""
        parts = (Search(self), Renting(self), Keeping(self), Listing(self), Account(self))
        return [route for part in parts for route in part.routes()]

    def extra_call(self, request: Request) -> Response | None:
        """The shopper's paths."""
        return Shopper(self).answer(request)
