"""The sweep: compare what a provider lists with what our rows say.

Orphans: machines with our label that no row claims, left by a lost answer or a worker frozen past its lease. They are
destroyed once seen twice. Ghosts: rows whose machine a complete listing lacks, twice and late enough; they end as
lost. A machine being created or destroyed is neither. Foreign machines, whose labels this database never issued, are
shown to operators and left alone until one of them decides. Labels of another deployment are none of our business.
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
from controlplane.domain.stray import StrayKind, StrayMachine, StrayWish, stray_id
from controlplane.domain.work import WorkItem
from controlplane.ports.bus import Topic
from controlplane.ports.meter import Count
from controlplane.ports.provider import LOST, Destruction, Listing, Machine, Provider, ProviderError
from controlplane.ports.store import Get, Transaction, UnitOfWork
from controlplane.reconcile import endings, strays
from controlplane.reconcile.asking import destroy
from controlplane.reconcile.tenure import Rows
from controlplane.usecases.asking import ask
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
    asked: bool = False  # once at least, whatever came of it


@dataclass(slots=True)
class Sweeper:
    """Sweeps one provider under one credential (empty: the deployment's)."""

    core: Core
    provider: Provider
    credential_id: str = ""
    report: SweepReport = field(default_factory=SweepReport)

    async def run(self, interval_s: float) -> None:
        """Sweep for ever."""
        while True:
            try:
                await self.sweep()
                self.report.failed = ""
            except (ProviderError, PlaneError) as error:
                self.report.failed = str(error)
                log.warning("sweep.failed", provider=self.provider.name, error=str(error))
            self.report.asked = True
            await self.core.clock.sleep(interval_s)

    async def sweep(self) -> None:
        """One comparison."""
        listing = await ask(
            self.core, self.provider, "list", self.provider.list(id_forms.label_prefix(self.core.deployment_id))
        )
        machines = {self._stray_id(machine): machine for machine in listing.machines}
        seen: dict[str, StrayMachine] = {}
        for id, machine in machines.items():
            kind = await self._judge(machine.label)
            await asyncio.sleep(0)  # SQLite answers without letting others go on
            if kind is not None:
                seen[id] = self._sighting(id, kind, machine)
        kinds = [row.kind for row in seen.values()]
        self.report.complete = listing.complete
        self.report.orphans, self.report.foreign = kinds.count(StrayKind.ORPHAN), kinds.count(StrayKind.FOREIGN)
        known = await strays.known(self.core, self.provider.name, self._credentials())
        gone = {row.id for row in known if row.id not in seen and (listing.complete or row.id in machines)}
        for row in (await strays.record(self.core, seen, gone)).values():
            await self._treat(row, machines[row.id])
        if listing.complete:
            self.report.ghosts = await self._ghosts(listing)

    async def _judge(self, label: str) -> StrayKind | None:
        """Which kind of stray carries the label; None for a machine that a row claims, and for those of others.

        Under whichever credential it is listed: two of them may lead to the same account at the provider, and the
        label is unique to one attempt.
        """
        parsed = id_forms.parse_label(label)
        if parsed is None or parsed[0] != self.core.deployment_id:
            return None
        instance = await self.core.store.get(ALL, Instance, parsed[1])
        if instance is None:
            return StrayKind.FOREIGN
        return None if instance.label == label and not instance.settled else StrayKind.ORPHAN

    def _credentials(self) -> set[str]:
        """What our rows of strays name as their credential. The other hosts' local machines are not ours to miss."""
        return {self.credential_id} if self.credential_id else {"", self.core.host_id}

    def _stray_id(self, machine: Machine) -> str:
        return stray_id(self.provider.name, self.credential_id or machine.host_id, machine.id)

    def _sighting(self, id: str, kind: StrayKind, machine: Machine) -> StrayMachine:
        now = self.core.clock.now()
        return StrayMachine(
            id=id, provider=self.provider.name, credential_id=self.credential_id or machine.host_id,
            machine_id=machine.id, label=machine.label, kind=kind, status=machine.status.value,
            price_nano_per_hour=machine.price_nano_per_hour or 0, first_seen_at=now, last_seen_at=now,
        )  # fmt: skip

    async def _treat(self, row: StrayMachine, machine: Machine) -> None:
        """Do what is wished, or what is due without a wish."""
        if row.wish is StrayWish.ADOPT:
            await self._adopt(row, machine)
        elif row.wish is StrayWish.DESTROY or (row.kind is StrayKind.ORPHAN and self._seen_twice(row)):
            await self._destroy_orphan(row)
        elif row.kind is StrayKind.FOREIGN:
            log.warning("sweep.foreign_machine", provider=self.provider.name, label=row.label, stray=row.id)

    @staticmethod
    def _seen_twice(row: StrayMachine) -> bool:
        """By two sweeps. More patience is not needed: a create's label stands in its row before the provider hears of
        it, so a machine whose row has ended or moved on is nobody's."""
        return row.last_seen_at - row.first_seen_at >= GRACE_S * SECOND

    @property
    def _grace(self) -> int:
        return int((self.provider.capabilities.listing_delay_s + GRACE_S) * SECOND)

    async def _adopt(self, row: StrayMachine, machine: Machine) -> None:
        if machine.status not in LOST:  # a list tells less of a machine than a look, its price among it
            machine = await ask(self.core, self.provider, "describe", self.provider.describe(machine.id))
        if machine.status in LOST:
            await strays.note(self.core, row, f"the machine is {machine.status} at the provider")
        elif await strays.adopt(self.core, self.provider, self.credential_id, row, machine):
            log.warning("sweep.adopted", provider=self.provider.name, label=row.label, account=row.account_id)

    async def _destroy_orphan(self, row: StrayMachine) -> None:
        """Destroy a machine that no row claims, now as at the listing. What fails is tried again by the next sweep, and
        keeps it from nothing else."""
        if await self._judge(row.label) is None:
            return
        log.warning("sweep.destroying_orphan", provider=self.provider.name, label=row.label, kind=row.kind)
        self.core.meter.count(Count.ORPHANS)
        try:
            destroyed = await destroy(self.core, self.provider, row.machine_id, grace_s=0)
        except ProviderError as error:
            self.core.meter.count(Count.DESTROY_FAILURES)
            log.warning("sweep.destroy_failed", provider=self.provider.name, label=row.label, error=str(error))
            await strays.note(self.core, row, "the provider could not be asked to destroy it")
            return
        if destroyed is not Destruction.PENDING:
            await strays.forget(self.core, row.id)

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
            and (instance.provider, instance.credential_id) == (self.provider.name, self.credential_id)
            and instance.host_id in ("", self.core.host_id)
        )

    async def _note_missing(self, seen: Instance) -> None:
        grace, policy = self._grace, self.core.policy

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
