"""The instance loop: claim what is due, act, release. It polls; notifications only shorten the wait.

Level-triggered: a step looks at the row and at the world and moves one towards the other. Whatever was interrupted is
simply looked at again, by this process or another.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from controlplane.domain.billing import SECOND
from controlplane.domain.errors import PlaneError, Unavailable
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation
from controlplane.domain.principal import ALL
from controlplane.domain.state import State
from controlplane.domain.work import LeaseLost, WorkItem
from controlplane.ports.bus import Topic
from controlplane.ports.meter import Count
from controlplane.ports.provider import ProviderError
from controlplane.ports.store import Due, Get, Store, Transaction, UnitOfWork
from controlplane.reconcile import lease
from controlplane.reconcile.allocate import allocate
from controlplane.reconcile.observe import observe
from controlplane.reconcile.start import start
from controlplane.reconcile.stop import stop
from controlplane.reconcile.tenure import Tenure, nothing, renew
from controlplane.usecases.core import Core

log = structlog.get_logger()

NOT_OURS_S = 3600.0  # between two looks at a row that another deployment must settle

Step = Callable[[Tenure, Instance], Awaitable[Instance | None]]
"""Returns the instance where the next step goes on at once, under the same hold."""

STEPS: dict[State, Step] = {
    State.ACCEPTED: allocate,
    State.ALLOCATING: allocate,
    State.STARTING: start,
    State.RUNNING: observe,
    State.STOPPED: observe,
    State.STOPPING: stop,
    State.FAILED: stop,
    State.TERMINATED: stop,
}


@dataclass(frozen=True, slots=True)
class LoopTimes:
    """Rhythms of the loop, in seconds. A lease outlives three renewals, and a dead replica's work is taken over
    within one lease: what a kill costs an operation is that and the look-up of its label, 10 s at the most."""

    poll_s: float = 1.0
    lease_s: float = 6.0
    renew_s: float = 2.0
    batch: int = 128
    in_flight: int = 256
    slowest_retry_s: float = 60.0


async def release_held(store: Store, holders: str) -> None:
    """Free at once what dead holders left claimed, instead of when their leases run out. `holders` is how their names
    begin. One that is not quite dead yet is stopped by its fence like any other."""
    held, before = [], ""
    while items := await store.select(ALL, WorkItem, {}, before, 1000):
        before = items[-1].id
        held += [item.id for item in items if item.holder.startswith(holders)]

    def decide(tx: Transaction) -> None:
        for item in (tx.get(WorkItem, id) for id in held):
            if item is not None and item.holder.startswith(holders):
                tx.put(item.released(tx.now))

    if held:
        await store.run(UnitOfWork(ALL, [Get(WorkItem, id) for id in held], decide))


class InstanceLoop:
    """Claims and works instances until cancelled."""

    def __init__(self, core: Core, holder: str, times: LoopTimes = LoopTimes()) -> None:
        self._core = core
        self._holder = holder
        self._times = times
        self._active: dict[str, tuple[Tenure, asyncio.Task[None]]] = {}
        self.last_claim_at: float | None = None

    async def run(self) -> None:
        """Claim and work until cancelled; then let go of what is in flight."""
        waiter = self._core.bus.waiter(Topic.WORK)
        renewing = asyncio.create_task(self._renew(), name="lease-renewal")
        woken = True
        try:
            while True:
                try:
                    pause = await self._turn(woken)
                except Unavailable as error:
                    log.warning("loop.store_unavailable", error=str(error))
                    pause = self._times.poll_s
                woken = await waiter.wait(pause)
        finally:
            renewing.cancel()
            for _, task in list(self._active.values()):
                task.cancel()

    async def _turn(self, woken: bool) -> float:
        """Claim what is due and set it going. Seconds to the next turn.

        A wake-up says that something is due, so the claim follows at once; without one a read comes first, so that
        an idle plane opens no transaction.
        """
        due_in = 0.0 if woken else await self._due_in()
        claimed = await self._claim() if due_in <= 0 else []
        self.last_claim_at = self._core.clock.monotonic()
        for tenure, instance in claimed:
            task = asyncio.create_task(self._work(tenure, instance), name=f"work-{tenure.id}")
            self._active[tenure.id] = (tenure, task)
        if claimed:
            return 0.0
        return max(0.01, await self._due_in() if woken else due_in)

    async def _due_in(self) -> float:
        """Seconds until something is due, at most one poll."""
        due_in = await self._core.store.due_in(self._core.host_id)
        return self._times.poll_s if due_in is None else min(self._times.poll_s, due_in)

    async def _claim(self) -> list[tuple[Tenure, Instance]]:
        """Hold what is due. The rows come with the claim: a read after it could fail, and leave items that nobody
        works on until their leases run out."""
        room = self._times.in_flight - len(self._active)
        if room <= 0:
            return []
        due = Due(min(room, self._times.batch), self._core.host_id, self._limits())

        def decide(tx: Transaction) -> list[tuple[Tenure, Instance]]:
            claimed = []
            for item in tx.due():
                instance = tx.get(Instance, item.id)
                if instance is None:
                    tx.delete(WorkItem, item.id)
                    continue
                item = item.claimed(self._holder, tx.now, int(self._times.lease_s * SECOND))
                tx.put(item)
                create = tx.get(Operation, instance.create_operation_id)
                claimed.append((Tenure(self._core, item, instance, create, self._times.lease_s), instance))
            return claimed

        return await self._core.store.run(UnitOfWork(ALL, [due], decide))

    def _limits(self) -> tuple[tuple[str, int], ...]:
        """How many more items of each provider may be worked on."""
        busy: dict[str, int] = {}
        for tenure, _ in self._active.values():
            busy[tenure.provider] = busy.get(tenure.provider, 0) + 1
        most = {name: provider.capabilities.concurrency for name, provider in self._core.providers.items()}
        return tuple(
            (name, count - busy.get(name, 0)) for name, count in (self._core.credentials.concurrency | most).items()
        )

    async def _work(self, tenure: Tenure, instance: Instance) -> None:
        outcome = "failed"
        try:
            if not self._core.issued(instance.label):
                outcome = "not_ours"
                log.warning("loop.not_ours", instance=instance.id, label=instance.label)
                await tenure.apply(nothing, due_in_s=NOT_OURS_S)
                return
            if lease.over(instance, self._core.clock.now()):
                instance = await tenure.apply(lease.end_if_over)
            while (moved := await STEPS[instance.state](tenure, instance)) is not None:
                instance = moved
            outcome = "done"
        except LeaseLost:
            outcome = "lease_lost"
            log.info("loop.lease_lost", instance=tenure.id)
        except ProviderError as error:
            if STEPS[instance.state] is stop:
                self._core.meter.count(Count.DESTROY_FAILURES)
            log.warning("loop.provider_failed", instance=tenure.id, provider=instance.provider, error=str(error))
            await self._back_off(tenure, error.retry_after_s)
        except PlaneError as error:
            log.warning("loop.step_refused", instance=tenure.id, error=str(error))
            await self._back_off(tenure, None)
        except Exception:
            log.exception("loop.step_failed", instance=tenure.id, state=instance.state)
            await self._back_off(tenure, None)
        finally:
            self._core.meter.count(Count.STEPS, instance.state, outcome)
            if self._active.get(tenure.id, (None,))[0] is tenure:
                del self._active[tenure.id]

    async def _back_off(self, tenure: Tenure, after_s: float | None) -> None:
        """Give up the hold for a while, longer with every failure in a row, with jitter."""
        base = min(self._times.slowest_retry_s, 0.5 * 2 ** min(tenure.failures, 10))
        pause = after_s if after_s is not None else base * (0.5 + self._core.ids.jitter() / 2)
        with contextlib.suppress(LeaseLost, PlaneError):  # otherwise the lease runs out by itself
            await tenure.apply(nothing, due_in_s=pause, failed=True)

    async def _renew(self) -> None:
        while True:
            await self._core.clock.sleep(self._times.renew_s)
            try:
                await renew(self._core, [tenure for tenure, _ in self._active.values()])
            except PlaneError as error:
                log.warning("loop.renewal_failed", error=str(error))
