"""Asking the provider of an instance: with a deadline, timed, and with nothing but ProviderError for an answer that is
none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from controlplane.domain.instance import Instance
from controlplane.ports.meter import Count, Timing
from controlplane.ports.provider import Provider, ProviderError
from controlplane.usecases.core import Core
from controlplane.usecases.sellers import seller

T = TypeVar("T")


def provider_of(core: Core, instance: Instance) -> Provider:
    """The provider an instance was bought from, under the credential it was bought with; ProviderError while this
    process has none such."""
    provider = seller(core, instance.provider, instance.credential_id)
    if provider is None:
        under = f" under credential {instance.credential_id}" if instance.credential_id else ""
        raise ProviderError(f"provider {instance.provider!r} is not configured{under}")
    return provider


async def ask(core: Core, provider: Provider, operation: str, call: Awaitable[T]) -> T:
    """The answer of any call but launch; ProviderError when there is none in time."""
    return await timed(core, provider, operation, call, provider.capabilities.call_timeout_s)


async def timed(core: Core, provider: Provider, operation: str, call: Awaitable[T], timeout_s: float) -> T:
    """The answer of a call with a deadline of its own; ProviderError when there is none in time."""
    began = core.clock.monotonic()
    try:
        async with asyncio.timeout(timeout_s):
            return await call
    except TimeoutError as error:
        core.meter.count(Count.PROVIDER_ERRORS, provider.name, operation)
        raise ProviderError("no answer in time") from error
    except ProviderError:
        core.meter.count(Count.PROVIDER_ERRORS, provider.name, operation)
        raise
    finally:
        core.meter.observe(Timing.PROVIDER_CALL, core.clock.monotonic() - began, provider.name, operation)
