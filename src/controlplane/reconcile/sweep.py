"""The sweep: compare what a provider lists with what our rows say.

Orphans: machines with our label that no row claims, left by a lost answer or a worker frozen past its lease. They are
destroyed once seen twice. Ghosts: rows whose machine a complete listing lacks, twice and late enough; they end as
lost. A machine being created or destroyed is neither. Labels with ids that this database never issued are reported and
left alone; labels of another deployment are none of our business.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import structlog

from controlplane.domain import ids as id_forms
from controlplane.domain.billing import SECOND
from controlplane.domain.errors import PlaneError
from controlplane.domain.instance import Instance
from controlplane.domain.principal import ALL
from controlplane.domain.state import State
from controlplane.domain.work import WorkItem
from controlplane.ports.bus import Topic
from controlplane.ports.meter import Count
from controlplane.ports.provider import Destruction, Listing, Machine, Provider, ProviderError
from controlplane.ports.store import Get, Transaction, UnitOfWork
from controlplane.reconcile import endings
from controlplane.reconcile.asking import ask
from controlplane.reconcile.tenure import Rows
from controlplane.usecases.core import Core
from controlplane.usecases.instances import poke

log = structlog.get_logger()

GRACE_S = 5.0  # beyond the listing delay, between two sightings


@dataclass(slots=True)
class SweepReport:
    """What the last sweep of a provider found."""

    complete: bool = False
    orphans: int = 0  # being destroyed, or about to be
    foreign: int = 0  # ours by label, unknown to this database: for a person to decide
    ghosts: int = 0
    failed: str = ""


@dataclass(slots=True)
class Sweeper:
    """Sweeps one provider."""

    core: Core
    provider: Provider
    report: SweepReport = field(default_factory=SweepReport)
    _suspects: dict[str, int] = field(default_factory=dict)

    async def run(self, interval_s: float) -> None:
        """Sweep for ever."""
        while True:
            try:
                await self.sweep()
                self.report.failed = ""
            except (ProviderError, PlaneError) as error:
                self.report.failed = str(error)
                log.warning("sweep.failed", provider=self.provider.name, error=str(error))
            await self.core.clock.sleep(interval_s)

    async def sweep(self) -> None:
        """One comparison."""
        listing = await ask(
            self.core, self.provider, "list", self.provider.list(id_forms.label_prefix(self.core.deployment_id))
        )
        suspects, foreign = [], 0
        for machine in listing.machines:
            verdict = await self._judge(machine)
            await asyncio.sleep(0)  # SQLite answers without letting others go on
            if verdict == "orphan":
                suspects.append(machine)
            elif verdict == "foreign":
                foreign += 1
                log.warning("sweep.foreign_machine", provider=self.provider.name, label=machine.label)
        self._suspects = {m.id: self._suspects.get(m.id, self.core.clock.now()) for m in suspects}
        self.report.complete, self.report.orphans, self.report.foreign = (
            listing.complete,
            len(suspects),
            foreign,
        )
        for machine in suspects:
            await self._destroy_orphan(machine)
        if listing.complete:
            self.report.ghosts = await self._ghosts(listing)

    async def _judge(self, machine: Machine) -> str:
        parsed = id_forms.parse_label(machine.label)
        if parsed is None or parsed[0] != self.core.deployment_id:
            return "other"
        instance = await self.core.store.get(ALL, Instance, parsed[1])
        if instance is None:
            return "foreign"
        if instance.label == machine.label and not instance.settled:
            return "owned"
        return "orphan"

    async def _destroy_orphan(self, machine: Machine) -> None:
        """Destroy on the second sighting, past the time in which a create may still be on its way to its row."""
        waited = self.core.clock.now() - self._suspects[machine.id]
        if waited < int((self.provider.capabilities.listing_delay_s + GRACE_S) * SECOND):
            return
        if await self._judge(machine) != "orphan":
            return
        log.warning("sweep.destroying_orphan", provider=self.provider.name, label=machine.label)
        self.core.meter.count(Count.ORPHANS)
        destroyed = await ask(self.core, self.provider, "destroy", self.provider.destroy(machine.id, grace_s=0))
        if destroyed is Destruction.GONE:
            self._suspects.pop(machine.id, None)

    async def _ghosts(self, listing: Listing) -> int:
        """Note rows whose machine is missing; end them on a later sighting."""
        listed = {machine.label for machine in listing.machines}
        found, before = 0, ""
        while items := await self.core.store.select(ALL, WorkItem, {"provider": self.provider.name}, before, 500):
            before = items[-1].id
            for item in items:
                instance = await self.core.store.get(ALL, Instance, item.id)
                await asyncio.sleep(0)
                if instance is not None and self._could_be_ghost(instance) and instance.label not in listed:
                    found += 1
                    await self._note_missing(instance)
        return found

    def _could_be_ghost(self, instance: Instance) -> bool:
        return (
            instance.state in (State.STARTING, State.RUNNING, State.STOPPED)
            and bool(instance.machine_id)
            and self.core.issued(instance.label)
            and instance.provider == self.provider.name
            and instance.host_id in ("", self.core.host_id)
        )

    async def _note_missing(self, seen: Instance) -> None:
        grace = int((self.provider.capabilities.listing_delay_s + GRACE_S) * SECOND)
        policy = self.core.policy

        def decide(tx: Transaction) -> bool:
            row = tx.get(Instance, seen.id)
            if row is None or row.label != seen.label or not self._could_be_ghost(row):
                return False
            if row.missing_since is None:
                tx.put(replace(row, missing_since=tx.now))
            elif tx.now - row.missing_since >= grace:
                rows = Rows.of(tx, row)
                endings.fail(
                    rows, policy, endings.UNAVAILABLE, "MACHINE_LOST", "the provider no longer lists the machine",
                    gone=True,
                )  # fmt: skip
                rows.save()
                poke(tx, row.id)
                return True
            return False

        if await self.core.store.run(UnitOfWork(ALL, [*Rows.loads(seen), Get(WorkItem, seen.id)], decide)):
            self.core.meter.count(Count.GHOSTS)
        self.core.bus.notify(Topic.WORK)


async def refresh_offers(core: Core, provider: Provider, interval_s: float) -> None:
    """Keep the offer book's page of one provider up to date, for ever. A failure leaves the last known offers."""
    while True:
        try:
            core.offers.update(provider.name, await ask(core, provider, "offers", provider.offers()))
        except ProviderError as error:
            log.warning("offers.refresh_failed", provider=provider.name, error=str(error))
        await core.clock.sleep(interval_s)


async def expire_records(core: Core, keep_s: float, keep_events: int, interval_s: float) -> None:
    """Keep the event window, finished operations and idempotency records bounded, for ever."""
    while True:
        await core.clock.sleep(interval_s)
        try:
            removed = 1
            while removed:
                removed = await core.store.expire(core.clock.now() - int(keep_s * SECOND), keep_events, 1000)
        except PlaneError as error:
            log.warning("retention.failed", error=str(error))


async def expire_deliveries(core: Core, keep_s: float, interval_s: float) -> None:
    """Remove finished webhook deliveries that are too old, and what deleted endpoints left, for ever."""
    while True:
        await core.clock.sleep(interval_s)
        try:
            removed = 1
            while removed:
                removed = await core.store.webhooks.expire(core.clock.now() - int(keep_s * SECOND), 1000)
        except PlaneError as error:
            log.warning("webhooks.retention_failed", error=str(error))
