"""The Vast.ai marketplace."""

from controlplane.adapters.providers.vastai.provider import VastaiProvider
from controlplane.adapters.providers.vastai.settings import VastaiSettings

__all__ = ["VastaiProvider", "VastaiSettings"]
