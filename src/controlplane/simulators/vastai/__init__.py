"""Vast.ai as documented, for rehearsals."""

from controlplane.simulators.vastai.market import VastMarketplace

__all__ = ["VastMarketplace"]
