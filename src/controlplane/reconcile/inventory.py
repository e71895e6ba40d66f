"""Keeping the offer book up to date: offers, templates, and the memory of what could not be had."""

from __future__ import annotations

import structlog

from controlplane.domain.errors import PlaneError
from controlplane.ports.provider import Provider, ProviderError
from controlplane.usecases.asking import ask
from controlplane.usecases.core import Core
from controlplane.usecases.failure_memory import recall

log = structlog.get_logger()

TEMPLATES_S = 600.0
RECALL_S = 5.0


async def fetch_offers(core: Core, provider: Provider) -> None:
    """One look at a provider's market. A failure leaves the last known offers, whose confidence falls as they age."""
    try:
        offers = await ask(core, provider, "offers", provider.offers())
        await core.offers.refresh(provider.name, offers, core.clock.now())
    except ProviderError as error:
        core.offers.unreachable(provider.name, core.clock.now())
        log.warning("offers.refresh_failed", provider=provider.name, error=str(error))


async def fetch_templates(core: Core, provider: Provider) -> None:
    """One look at the templates of a provider that has some. A failure leaves the last known ones."""
    if not provider.capabilities.templates:
        return
    try:
        core.offers.update_templates(provider.name, await ask(core, provider, "templates", provider.templates()))
    except ProviderError as error:
        log.warning("templates.refresh_failed", provider=provider.name, error=str(error))


async def refresh_offers(core: Core, provider: Provider, interval_s: float) -> None:
    """Keep the offer book's page of one provider up to date, for ever."""
    while True:
        await fetch_offers(core, provider)
        await core.clock.sleep(interval_s)


async def refresh_templates(core: Core, provider: Provider) -> None:
    """Keep the templates of a provider up to date, for ever; one that has none needs no keeping."""
    while provider.capabilities.templates:
        await fetch_templates(core, provider)
        await core.clock.sleep(TEMPLATES_S)


async def recall_failures(core: Core) -> None:
    """Learn what other replicas could not have, for ever."""
    while True:
        try:
            await recall(core)
        except PlaneError as error:
            log.warning("failures.recall_failed", error=str(error))
        await core.clock.sleep(RECALL_S)
