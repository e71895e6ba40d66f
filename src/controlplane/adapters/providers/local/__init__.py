"""The provider whose machines are sandboxed processes on this host."""

from controlplane.adapters.providers.local.provider import LocalProvider
from controlplane.adapters.providers.local.settings import LocalSettings

__all__ = ["LocalProvider", "LocalSettings"]
