"""io.net, simulated."""

from controlplane.simulators.ionet.market import IonetMarketplace

__all__ = ["IonetMarketplace"]
