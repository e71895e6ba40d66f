"""A provider that rents nothing and has one template, for tests of what shows templates: plugin `PLUGIN`."""

from __future__ import annotations

from controlplane.domain.offer import Offer
from controlplane.domain.template import Template
from controlplane.ports.provider import Capabilities, Listing, Provider
from controlplane.settings import Settings

PLUGIN = "tests.support.recipes:build"
TEMPLATE = Template("recipe-1", "recipes", "PyTorch", "pytorch/pytorch", env={"A": "1"}, ports=(8888,), disk_gb=32)


def build(settings: Settings) -> Provider:
    """What the plane calls."""
    return Recipes()


class Recipes(Provider):
    """See the module."""

    name = "recipes"
    capabilities = Capabilities(templates=True)

    async def offers(self) -> tuple[Offer, ...]:
        """None."""
        return ()

    async def list(self, label_prefix: str) -> Listing:
        """Nothing was ever rented."""
        return Listing(True, ())

    async def templates(self) -> tuple[Template, ...]:
        """One."""
        return (TEMPLATE,)
