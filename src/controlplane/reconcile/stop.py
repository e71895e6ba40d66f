"""STOPPING, and FAILED with something left at the provider: destroy until the provider confirms, for ever."""

from __future__ import annotations

from controlplane.domain.billing import SECOND
from controlplane.domain.instance import Instance
from controlplane.domain.records import replace
from controlplane.domain.state import State
from controlplane.ports.provider import Destruction, MachineStatus, Provider, ProviderError
from controlplane.reconcile import endings
from controlplane.reconcile.asking import admit, ask, destroy, provider_of
from controlplane.reconcile.metering import metered
from controlplane.reconcile.posting import post
from controlplane.reconcile.tenure import Rows, Tenure

SLOWEST_POLL_S = 30.0


async def stop(tenure: Tenure, instance: Instance) -> None:
    """Ask once for the destruction; end when nothing is left."""
    core = tenure.core
    provider = provider_of(core, instance)
    graceful = instance.state is State.STOPPING and not instance.stop_force
    grace_s = core.policy.stop_grace_s if graceful else 0.0
    gone_at = await returned(tenure, provider, instance, grace_s)
    if gone_at is not None:
        await tenure.apply(lambda rows: endings.terminated(rows, core.policy, gone_at), due_in_s=0)
        return

    def still(rows: Rows) -> None:
        post(rows, core.policy)

    since = instance.stop_at or instance.end_at or core.clock.now()
    waited_s = (core.clock.now() - since) / 1_000_000
    pause = provider.capabilities.transition_poll_s
    await tenure.apply(still, due_in_s=min(SLOWEST_POLL_S, max(pause, waited_s / 10)))


async def returned(tenure: Tenure, provider: Provider, instance: Instance, grace_s: float) -> int | None:
    """Destroy a machine. Since when it is gone, or None while something may be left.

    Where a destroy that arrives ends the bill, it ends when the destroy was sent, not when its answer was heard: so the
    moment is recorded before, and a machine is looked at before it is destroyed again, since the last destroy may have
    worked although its answer was lost. Where machines are paid in advance, a last look tells what was refunded.
    """
    core, capabilities = tenure.core, provider.capabilities
    if not (capabilities.destroy_is_end or capabilities.extend):
        done = await destroy(core, provider, instance.machine_id, grace_s=grace_s)
        return None if done is Destruction.PENDING else core.clock.now()
    await admit(core, provider, "destroy")
    machine = await ask(core, provider, "describe", provider.describe(instance.machine_id))
    gone = machine.status is MachineStatus.GONE
    sent_at = 0

    def seen(rows: Rows) -> None:
        nonlocal sent_at
        metered(rows, machine)
        sent_at = rows.now
        if capabilities.destroy_is_end and not gone and _stands(rows.instance, provider, rows.now):
            rows.instance = replace(rows.instance, destroy_at=rows.now)

    row = await tenure.apply(seen)
    if gone:
        return machine.ended_at or row.destroy_at or core.clock.now()
    try:
        done = await ask(core, provider, "destroy", provider.destroy(instance.machine_id, grace_s=grace_s))
    except ProviderError as error:
        if error.undone and row.destroy_at == sent_at:
            await tenure.apply(_never_mind)
        raise
    if done is Destruction.PENDING or not capabilities.destroy_is_end:
        return None  # where machines are paid in advance, the next look tells what was paid and since when it is gone
    return sent_at if done is Destruction.GONE else row.destroy_at


def _never_mind(rows: Rows) -> None:
    """The destroy that was about to be sent did nothing."""
    rows.instance = replace(rows.instance, destroy_at=None)


def _stands(row: Instance, provider: Provider, now: int) -> bool:
    """Whether a machine that still shows proves that the last destroy did not end it: a listing may be that late."""
    late = int(provider.capabilities.listing_delay_s * SECOND)
    return row.destroy_at is None or now - row.destroy_at > late
