"""TensorDock's marketplace of virtual machines."""

from controlplane.adapters.providers.tensordock.provider import TensordockProvider
from controlplane.adapters.providers.tensordock.settings import TensordockSettings

__all__ = ["TensordockProvider", "TensordockSettings"]
