"""The roster: which server processes are alive, so that limits can be shared among them and lost hosts be told."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from controlplane.domain.billing import SECOND
from controlplane.domain.errors import PlaneError
from controlplane.domain.instance import Instance
from controlplane.domain.principal import ALL
from controlplane.domain.replica import ReplicaRecord
from controlplane.domain.state import TERMINAL
from controlplane.domain.work import WorkItem
from controlplane.ports.store import Get, Transaction, UnitOfWork
from controlplane.reconcile import endings
from controlplane.reconcile.tenure import Rows
from controlplane.usecases.core import Core

log = structlog.get_logger()

HEARTBEAT_S = 3.0
ALIVE_S = 10.0
HOST_CHECK_S = 60.0


class Roster:
    """This process's entry, and how many others there are."""

    def __init__(self, core: Core, name: str, share: Callable[[int], None]) -> None:
        self._core = core
        self._name = name
        self._share = share

    async def run(self) -> None:
        """Show that this process lives, and share limits among those that do, for ever."""
        while True:
            try:
                self._share(max(1, await self._alive()))
            except PlaneError as error:
                log.warning("roster.failed", error=str(error))
            await self._core.clock.sleep(HEARTBEAT_S)

    async def _alive(self) -> int:
        """Leave a sign of life; how many processes left one lately."""

        def decide(tx: Transaction) -> int:
            tx.put(ReplicaRecord(self._name, self._core.host_id, tx.now))
            return tx.now

        now = await self._core.store.run(UnitOfWork(ALL, [Get(ReplicaRecord, self._name)], decide))
        return sum(row.seen_at > now - ALIVE_S * SECOND for row in await self._all())

    async def _all(self) -> list[ReplicaRecord]:
        return await self._core.store.select(ALL, ReplicaRecord, {}, "", 1000)

    async def leave(self) -> None:
        """Take this process off, so that the others share at once."""
        decide = lambda tx: tx.delete(ReplicaRecord, self._name)  # noqa: E731
        await self._core.store.run(UnitOfWork(ALL, [Get(ReplicaRecord, self._name)], decide))

    async def watch_hosts(self, lost_after_s: float) -> None:
        """End the machines of hosts that were not heard of for that long, for ever: nobody else may judge them."""
        while True:
            await self._core.clock.sleep(HOST_CHECK_S)
            try:
                await self.end_lost_hosts(lost_after_s)
            except PlaneError as error:
                log.warning("roster.hosts_failed", error=str(error))

    async def end_lost_hosts(self, lost_after_s: float) -> None:
        """One look at the hosts."""
        rows = await self._all()
        now = max((row.seen_at for row in rows), default=0)
        heard: dict[str, int] = {}
        for row in rows:
            heard[row.host_id] = max(heard.get(row.host_id, 0), row.seen_at)
        for host_id, seen_at in heard.items():
            if now - seen_at > lost_after_s * SECOND and host_id != self._core.host_id:
                await self._end(host_id)
        for row in rows:
            mine = row.host_id == self._core.host_id and row.seen_at == heard[row.host_id]
            # Of a lost host all; of a living one the lives that were killed and could not take themselves off.
            if now - row.seen_at > lost_after_s * SECOND and not mine:
                await self._forget(row.id)

    async def _end(self, host_id: str) -> None:
        before = ""
        while items := await self._core.store.select(ALL, WorkItem, {"host_id": host_id}, before, 500):
            before = items[-1].id
            for item in items:
                instance = await self._core.store.get(ALL, Instance, item.id)
                if instance is not None:
                    await self._end_one(instance)

    async def _end_one(self, seen: Instance) -> None:
        policy = self._core.policy

        def decide(tx: Transaction) -> None:
            row = tx.get(Instance, seen.id)
            if row is None or row.settled:
                return
            rows = Rows.of(tx, row)
            if row.state in TERMINAL or row.ending:
                endings.terminated(rows, policy)  # it was ending anyway, and nothing of it can be left
            else:
                message = "the host of the machine was not heard of for too long"
                endings.fail(rows, policy, endings.UNAVAILABLE, "HOST_LOST", message, gone=True)
            rows.save()
            tx.delete(WorkItem, row.id)

        log.warning("roster.host_lost", host=seen.host_id, instance=seen.id)
        await self._core.store.run(UnitOfWork(ALL, [*Rows.loads(seen), Get(WorkItem, seen.id)], decide))

    async def _forget(self, id: str) -> None:
        decide = lambda tx: tx.delete(ReplicaRecord, id)  # noqa: E731
        await self._core.store.run(UnitOfWork(ALL, [Get(ReplicaRecord, id)], decide))
