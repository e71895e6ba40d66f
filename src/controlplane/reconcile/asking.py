"""What the loops ask of providers, each with its deadline and its reading of an answer that is none."""

from __future__ import annotations

import structlog

from controlplane.domain.billing import SECOND
from controlplane.domain.instance import Instance
from controlplane.domain.records import replace
from controlplane.ports.provider import (
    Ambiguous,
    Destruction,
    LaunchOutcome,
    LaunchSpec,
    Machine,
    MachineStatus,
    Provider,
    ProviderError,
)
from controlplane.usecases.asking import ask, timed
from controlplane.usecases.core import Core

log = structlog.get_logger()


async def launch(core: Core, provider: Provider, spec: LaunchSpec) -> LaunchOutcome:
    """The outcome of a launch; Ambiguous when it cannot be known."""
    try:
        return await timed(core, provider, "launch", provider.launch(spec), provider.capabilities.launch_timeout_s)
    except ProviderError as error:
        log.warning("provider.launch_unclear", provider=provider.name, label=spec.label, error=str(error))
        return Ambiguous("the provider's answer was lost or not understood")


async def look(core: Core, provider: Provider, instance: Instance) -> Machine:
    """The instance's machine as it is. One that the provider does not know so soon after its creation is not gone."""
    view = provider.verify if instance.destroy_at is not None else provider.describe
    machine = await ask(core, provider, "describe", view(instance.machine_id))
    if machine.status is MachineStatus.GONE and machine.ended_at is None and newborn(core, provider, instance):
        return replace(machine, status=MachineStatus.UNKNOWN, message="the provider does not know it yet")
    return machine if machine.seen_at is not None else replace(machine, seen_at=core.clock.now())


def newborn(core: Core, provider: Provider, instance: Instance) -> bool:
    """Whether the machine is so young that the provider need not know it."""
    age = core.clock.now() - (instance.machine_at or 0)
    return age < provider.capabilities.listing_delay_s * SECOND


async def admit(core: Core, provider: Provider, call: str) -> None:
    """Wait for the turn of a launch or destroy; ProviderError when it does not come in time."""
    await timed(core, provider, "admit", provider.admit(call), provider.capabilities.launch_timeout_s)


async def destroy(core: Core, provider: Provider, machine_id: str, *, grace_s: float) -> Destruction:
    """What became of a destroy, in the turn that it takes."""
    await admit(core, provider, "destroy")
    return await ask(core, provider, "destroy", provider.destroy(machine_id, grace_s=grace_s))
