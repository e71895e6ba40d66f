"""The canonical API: one servicer per service of gpuplane.v1."""

from __future__ import annotations

from controlplane.api.canonical.accounts import Accounts
from controlplane.api.canonical.budgets import Budgets
from controlplane.api.canonical.instances import Instances
from controlplane.api.canonical.keys import Keys
from controlplane.api.canonical.offers import Offers
from controlplane.api.canonical.operations import Operations
from controlplane.api.canonical.provider_credentials import ProviderCredentials
from controlplane.api.canonical.shapes import Plane
from controlplane.api.canonical.strays import Strays
from controlplane.api.canonical.system import System
from controlplane.api.canonical.usage import Usage
from controlplane.api.canonical.webhooks import Webhooks
from controlplane.api.server import ServiceImpl
from controlplane.api.vitals import Vitals
from controlplane.metrics import Metrics

__all__ = ["Plane", "canonical_services"]


def canonical_services(plane: Plane, vitals: Vitals, metrics: Metrics, version: str) -> list[ServiceImpl]:
    """All servicers."""
    return [
        Instances(plane),
        Operations(plane),
        Offers(plane),
        Keys(plane),
        Usage(plane),
        Budgets(plane),
        Webhooks(plane),
        ProviderCredentials(plane),
        Accounts(plane),
        Strays(plane),
        System(plane, vitals, metrics, version),
    ]
