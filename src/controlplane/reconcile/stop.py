"""STOPPING, and FAILED with something left at the provider: destroy, or stop and keep, until the provider confirms."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import structlog

from controlplane.domain.billing import SECOND
from controlplane.domain.instance import Instance
from controlplane.domain.records import replace
from controlplane.domain.state import State
from controlplane.ports.provider import LOST, Destruction, Machine, MachineStatus, Provider, ProviderError
from controlplane.reconcile import endings
from controlplane.reconcile.asking import admit, destroy, look, newborn
from controlplane.reconcile.metering import metered
from controlplane.reconcile.posting import post
from controlplane.reconcile.tenure import Rows, Tenure
from controlplane.usecases.asking import ask, provider_of
from controlplane.usecases.core import Core, Policy

SLOWEST_POLL_S = 30.0
BILL_PATIENCE_S = 600.0  # from the end of a machine, for which its bill is asked for where nothing else can tell

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Gone:
    """Nothing is left of a machine since `at`. `billed`: what it cost is known, or will not be known any better."""

    at: int
    billed: bool = True


async def stop(tenure: Tenure, instance: Instance) -> None:
    """Ask for the destruction, or for the rest of a machine whose disk is kept; end when nothing is left."""
    core = tenure.core
    provider = provider_of(core, instance)
    if instance.state is State.STOPPING and instance.keeps_disk:
        # A budget may empty while the provider cannot be asked; then the disk is to go, too.
        instance = await tenure.apply(lambda rows: post(rows, core.policy))
        if instance.keeps_disk and await _keep(tenure, provider, instance):
            return
    graceful = instance.state is State.STOPPING and not instance.stop_force
    grace_s = core.policy.stop_grace_s if graceful else 0.0
    gone = await returned(tenure, provider, instance, grace_s)

    def found(rows: Rows) -> None:
        if gone is None:
            post(rows, core.policy)
        else:
            endings.terminated(rows, core.policy, gone.at, billed=gone.billed)

    await tenure.apply(found, due_in_s=_pause_s(core, provider, instance))


def _pause_s(core: Core, provider: Provider, instance: Instance) -> float:
    """Between two looks, the longer the longer it takes."""
    since = instance.stop_at or instance.end_at or core.clock.now()
    waited_s = (core.clock.now() - since) / SECOND
    return min(SLOWEST_POLL_S, max(provider.capabilities.transition_poll_s, waited_s / 10))


async def _keep(tenure: Tenure, provider: Provider, instance: Instance) -> bool:
    """Stop the machine, and wait until it is at rest. False: there is nothing to keep."""
    machine = await look(tenure.core, provider, instance)
    if machine.status in (MachineStatus.STOPPED, MachineStatus.PREEMPTED):
        if machine.status is MachineStatus.PREEMPTED:  # perhaps not by us: it must not come back by itself
            await ask(tenure.core, provider, "stop", provider.stop(instance.machine_id))
        await tenure.apply(lambda rows: _kept(rows, machine, tenure.core.policy), due_in_s=0)
        return True
    if machine.status in LOST:
        return False
    # It is idempotent, so a repeat after a crash or a lost answer does no harm.
    await ask(tenure.core, provider, "stop", provider.stop(instance.machine_id))
    pause_s = _pause_s(tenure.core, provider, instance)
    await tenure.apply(lambda rows: post(rows, tenure.core.policy), due_in_s=pause_s)
    return True


def _kept(rows: Rows, machine: Machine, policy: Policy) -> None:
    metered(rows, machine)
    row = rows.instance
    if row.keeps_disk:  # else somebody wanted it gone meanwhile
        storage = row.meter.standby if row.meter is not None else None
        rows.instance = row.stopped_and_kept(storage or 0, rows.now)
    post(rows, policy)


async def returned(tenure: Tenure, provider: Provider, instance: Instance, grace_s: float) -> Gone | None:
    """Destroy a machine. None while something may be left of it.

    Where a destroy that arrives ends the bill, it ends when the destroy was sent, not when its answer was heard: so the
    moment is recorded before, and a machine is looked at before it is destroyed again, since the last destroy may have
    worked although its answer was lost. Where machines are paid in advance, a last look tells what was refunded.
    """
    core, capabilities = tenure.core, provider.capabilities
    if not (capabilities.destroy_is_end or capabilities.extend):
        done = await destroy(core, provider, instance.machine_id, grace_s=grace_s)
        return None if done is Destruction.PENDING else Gone(core.clock.now())
    machine: Machine | None = None
    with contextlib.suppress(ProviderError):  # one that cannot be looked at is destroyed all the same
        machine = await look(core, provider, instance)
    if machine is not None and machine.status is MachineStatus.GONE:
        row = await tenure.apply(lambda rows: metered(rows, machine))
        gone_at = machine.ended_at or row.destroy_at or core.clock.now()
        return await _billed(tenure, provider, row, machine, gone_at)
    await admit(core, provider, "destroy")
    sent_at = 0

    def about_to(rows: Rows) -> None:
        nonlocal sent_at
        sent_at = rows.now
        if machine is not None:
            metered(rows, machine)
        # One that was seen after the last destroy proves that it did nothing; without a look it may have ended it.
        seen = machine is not None and machine.status is not MachineStatus.UNKNOWN
        if capabilities.destroy_is_end and (seen or rows.instance.destroy_at is None):
            rows.instance = replace(rows.instance, destroy_at=rows.now)

    row = await tenure.apply(about_to)
    try:
        done = await ask(core, provider, "destroy", provider.destroy(instance.machine_id, grace_s=grace_s))
    except ProviderError as error:
        if error.undone and row.destroy_at == sent_at:
            await tenure.apply(lambda rows: _sent(rows, None))
        raise
    if not capabilities.destroy_is_end:
        return None  # where machines are paid in advance, the next look tells what was paid and since when it is gone
    if done is Destruction.PENDING:
        await tenure.apply(lambda rows: _sent(rows, sent_at))  # accepted: this is the one that ends it
        return None
    if done is Destruction.ABSENT and newborn(core, provider, row):
        return None
    gone_at = sent_at if done is Destruction.GONE else row.destroy_at or sent_at
    return await _billed(tenure, provider, row, machine, gone_at)


async def _billed(tenure: Tenure, provider: Provider, row: Instance, machine: Machine | None, gone_at: int) -> Gone:
    """With its bill. What a machine did after the last look at it, only the provider's own bill can tell: one that was
    just seen running went on, any other may have begun or stopped."""
    if machine is not None and machine.status is MachineStatus.RUNNING and row.destroy_at == gone_at:
        return Gone(gone_at)
    try:
        billed = await ask(tenure.core, provider, "bill", provider.bill(row.machine_id, row.machine_at or gone_at))
    except ProviderError as error:
        log.warning("stop.bill_unknown", instance=row.id, provider=row.provider, error=str(error))
        await tenure.apply(lambda rows: _sent(rows, gone_at))  # the next look must not find that it ended later
        patient = tenure.core.clock.now() - gone_at < BILL_PATIENCE_S * SECOND
        return Gone(gone_at, billed=not patient)  # after that it is what was seen

    def told(rows: Rows) -> None:
        meter = rows.instance.meter
        if meter is not None and billed is not None:
            rows.instance = replace(rows.instance, meter=replace(meter, billed_nano=billed))

    if billed is not None:
        await tenure.apply(told)
    return Gone(gone_at)


def _sent(rows: Rows, at: int | None) -> None:
    """With the moment of the destroy that ended it; None: the one that was about to be sent did nothing."""
    rows.instance = replace(rows.instance, destroy_at=at)
