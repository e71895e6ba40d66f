"""Who buys at a provider, and what no machine of it can be."""

from __future__ import annotations

from controlplane.domain.instance import Wish
from controlplane.domain.records import replace
from controlplane.ports.provider import LaunchMode, Provider
from controlplane.usecases.core import Core


def seller(core: Core, name: str, credential_id: str) -> Provider | None:
    """The provider of that name: under a credential of an account's own, or under the deployment's where it is empty.
    None while this process has none such."""
    return core.credentials.provider(credential_id) if credential_id else core.providers.get(name)


def seller_for(core: Core, account_id: str, name: str) -> Provider | None:
    """As `seller`, as the account buys now: under its own credential where it has one."""
    return seller(core, name, core.credentials.of(account_id, name))


def wish_at(provider: Provider, wish: Wish) -> Wish:
    """The wish as this provider can meet it: a machine without Jupyter is what some have."""
    without = wish.mode == LaunchMode.JUPYTER and not provider.capabilities.jupyter
    return replace(wish, mode=LaunchMode.SSH.value) if without else wish


def unmet(provider: Provider, wish: Wish) -> str:
    """Why no machine of the provider can be what is wished, whatever the offer; empty when one can."""
    if wish.preserve and not provider.capabilities.stop:
        return f"machines of {provider.name} cannot be stopped and kept"
    return provider.refuses(wish_at(provider, wish))
