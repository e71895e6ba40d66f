"""TensorDock, simulated."""

from controlplane.simulators.tensordock.marketplace import TensordockMarketplace

__all__ = ["TensordockMarketplace"]
