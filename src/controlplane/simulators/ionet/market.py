"""The simulated io.net, whole.

Machines come up within seconds here unless the switches say otherwise, and an hour that is paid for lasts an hour. A
delete takes a moment (`TEARDOWN_S`, plus `stop_s`), and gives money back only under the switch `early_refund`.
"""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.simulators.calls import Route
from controlplane.simulators.ionet.reading import Reading
from controlplane.simulators.ionet.renting import Renting
from controlplane.simulators.ionet.shop import Shop
from controlplane.simulators.ionet.state import IonetState

PREFIX = "/enterprise/v1/io-cloud"


class IonetMarketplace(IonetState):
    """The model with its API (providers.md section 4; the official SDK 0.4.1 where that is silent)."""

    def routes(self) -> Sequence[Route]:
        """See `Marketplace.routes`."""
        parts = (Shop(self, PREFIX), Renting(self, PREFIX), Reading(self, PREFIX))
        return [route for part in parts for route in part.routes()]
