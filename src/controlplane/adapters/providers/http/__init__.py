"""What adapters to marketplaces with an HTTP API share: one client per credential, and reading answers with care."""

from controlplane.adapters.providers.http.answer import Answer
from controlplane.adapters.providers.http.client import MarketplaceClient
from controlplane.adapters.providers.http.coalesce import Batcher, Recent
from controlplane.adapters.providers.http.errors import Held, NotSent, NotUnderstood, Refused, Unclear
from controlplane.adapters.providers.http.limiter import Rate

__all__ = [
    "Answer",
    "Batcher",
    "Held",
    "MarketplaceClient",
    "NotSent",
    "NotUnderstood",
    "Rate",
    "Recent",
    "Refused",
    "Unclear",
]
