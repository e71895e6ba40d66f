"""io.net's virtual machines (VMaaS): prepaid by the hour, with SSH."""

from controlplane.adapters.providers.ionet.provider import IonetProvider
from controlplane.adapters.providers.ionet.settings import IonetSettings

__all__ = ["IonetProvider", "IonetSettings"]
