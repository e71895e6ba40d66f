"""STOPPING, and FAILED with something left at the provider: destroy until the provider confirms, for ever."""

from __future__ import annotations

from controlplane.domain.instance import Instance
from controlplane.domain.state import State
from controlplane.ports.provider import Destruction
from controlplane.reconcile import endings
from controlplane.reconcile.asking import ask, provider_of
from controlplane.reconcile.posting import post
from controlplane.reconcile.tenure import Rows, Tenure

SLOWEST_POLL_S = 30.0


async def stop(tenure: Tenure, instance: Instance) -> None:
    """Ask once for the destruction; end when nothing is left."""
    core = tenure.core
    provider = provider_of(core, instance)
    graceful = instance.state is State.STOPPING and not instance.stop_force
    grace_s = core.policy.stop_grace_s if graceful else 0.0
    done = await ask(core, provider, "destroy", provider.destroy(instance.machine_id, grace_s=grace_s))
    if done is Destruction.GONE:
        await tenure.apply(lambda rows: endings.terminated(rows, core.policy), due_in_s=0)
        return

    def still(rows: Rows) -> None:
        post(rows, core.policy)

    since = instance.stop_at or instance.end_at or core.clock.now()
    waited_s = (core.clock.now() - since) / 1_000_000
    pause = provider.capabilities.transition_poll_s
    await tenure.apply(still, due_in_s=min(SLOWEST_POLL_S, max(pause, waited_s / 10)))
