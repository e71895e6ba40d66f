"""Asking a provider, with a deadline, and with nothing but ProviderError for an answer that is none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import structlog

from controlplane.domain.instance import Instance
from controlplane.ports.provider import Ambiguous, LaunchOutcome, LaunchSpec, Provider, ProviderError
from controlplane.usecases.core import Core

T = TypeVar("T")
log = structlog.get_logger()


def provider_of(core: Core, instance: Instance) -> Provider:
    """The provider an instance was bought from; ProviderError while this process has none of that name."""
    provider = core.providers.get(instance.provider)
    if provider is None:
        raise ProviderError(f"provider {instance.provider!r} is not configured")
    return provider


async def ask(provider: Provider, call: Awaitable[T]) -> T:
    """The answer of any call but launch; ProviderError when there is none in time."""
    try:
        async with asyncio.timeout(provider.capabilities.call_timeout_s):
            return await call
    except TimeoutError as error:
        raise ProviderError("no answer in time") from error


async def launch(provider: Provider, spec: LaunchSpec) -> LaunchOutcome:
    """The outcome of a launch; Ambiguous when it cannot be known."""
    try:
        async with asyncio.timeout(provider.capabilities.launch_timeout_s):
            return await provider.launch(spec)
    except TimeoutError:
        return Ambiguous("no answer in time")
    except ProviderError as error:
        log.warning("provider.launch_unclear", provider=provider.name, label=spec.label, error=str(error))
        return Ambiguous("the provider's answer was not understood")
