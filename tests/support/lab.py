"""A plane's core in virtual time over a well-behaved market, for tests of loops and use-cases.

@in_virtual_time
async def test_something(lab: Lab) -> None: ...
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable
from typing import Any

from gpuplane.v1 import watch_pb2

from controlplane.adapters.bus.memory import MemoryBus
from controlplane.adapters.secrets import MasterKeySecrets
from controlplane.adapters.store.memory import MemoryDisk, MemoryStore
from controlplane.domain.account import Account
from controlplane.domain.budget import Budget, Period
from controlplane.domain.events import EventKind
from controlplane.domain.instance import Instance
from controlplane.domain.ledger import LedgerEntry, LedgerKind
from controlplane.domain.operation import Operation
from controlplane.domain.principal import ALL, SCOPES, Principal
from controlplane.domain.state import State
from controlplane.ports.bus import Topic
from controlplane.ports.provider import LaunchOutcome, LaunchSpec
from controlplane.ports.ssh import ParsedSshKey
from controlplane.ports.store import Get, UnitOfWork
from controlplane.reconcile.loop import InstanceLoop
from controlplane.reconcile.sweep import Sweeper
from controlplane.usecases import instances
from controlplane.usecases.core import Core, Policy
from controlplane.usecases.idempotency import RequestKey
from controlplane.usecases.offerbook import OfferBook
from controlplane.usecases.provider_credentials import CredentialBook
from controlplane.usecases.wishes import CreateInstance
from tests.simulation.world import Faults, Market, SimProber, SimProvider, VirtualClock, VirtualLoop
from tests.support.fakes import START, FakeIds

CALLER = Principal("acct_a", "key_a", frozenset(SCOPES))
ONCE = RequestKey("create")


async def _open() -> None:
    """A gate that is always open."""


class ScriptedProvider(SimProvider):
    """A provider whose next launches come to what the test says; afterwards it behaves."""

    def __init__(self, market: Market) -> None:
        super().__init__(market, _open)
        self.script: list[LaunchOutcome | BaseException] = []
        self.asked: list[LaunchSpec] = []

    async def launch(self, spec: LaunchSpec) -> LaunchOutcome:
        self.asked.append(spec)
        if not self.script:
            return await super().launch(spec)
        outcome = self.script.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class AnyKey:
    """Every key is good."""

    async def parse(self, line: str) -> ParsedSshKey | None:
        return ParsedSshKey(line, "SHA256:x")


class Lab:
    """The core, its market, and short words for what tests do."""

    def __init__(self, loop: VirtualLoop, policy: Policy) -> None:
        self.loop = loop
        self.clock = VirtualClock(loop)
        self.disk = MemoryDisk()
        bus = MemoryBus()
        store = MemoryStore(
            self.disk, self.clock, FakeIds(1, self.clock), lambda units, seconds: bus.notify(Topic.EVENTS)
        )
        self.market = Market("alpha", loop, random.Random(1), Faults(), calm=True)
        self.provider = ScriptedProvider(self.market)
        self.core = Core(
            store=store, clock=self.clock, ids=FakeIds(2, self.clock), bus=bus, secrets=MasterKeySecrets(bytes(32)),
            ssh_keys=AnyKey(), prober=SimProber(_open, random.Random(1)), providers={"alpha": self.provider},
            offers=OfferBook(), policy=policy, deployment_id="lab",
            credentials=CredentialBook(("alpha", "beta")),
        )  # fmt: skip
        self.core.offers.update("alpha", tuple(self.provider.catalogue()), self.clock.now())
        self.worker = InstanceLoop(self.core, "worker")
        self.sweeper = Sweeper(self.core, self.provider)
        self.tasks: list[asyncio.Task[Any]] = []

    def work(self) -> None:
        """Start the instance loop."""
        self.tasks.append(asyncio.create_task(self.worker.run()))

    async def put(self, *rows: Any) -> None:
        """Write rows as they are."""

        def decide(tx: Any) -> None:
            for row in rows:
                tx.put(row)

        await self.core.store.run(UnitOfWork(ALL, [Get(type(row), row.id) for row in rows], decide))

    async def create(self, offer_id: str = "alpha-o1", **wish: Any) -> Instance:
        """Ask for a machine; the accepted instance."""
        if "requirements" in wish:
            offer_id = ""
        made = await instances.create(self.core, CALLER, CreateInstance(offer_id=offer_id, **wish), ONCE)
        return self.instance(made.instance_id)

    async def running(self, **wish: Any) -> Instance:
        """A machine that runs."""
        accepted = await self.create(**wish)
        return await self.until(accepted.id, State.RUNNING)

    async def until(self, id: str, state: State, within_s: float = 2000) -> Instance:
        """Wait in virtual time for a state."""
        async with asyncio.timeout(within_s):
            while self.instance(id).state is not state:
                await asyncio.sleep(0.05)
        return self.instance(id)

    async def settled(self, id: str, within_s: float = 2000) -> Instance:
        """Wait until nothing is left to do."""
        async with asyncio.timeout(within_s):
            while not self.instance(id).settled:
                await asyncio.sleep(0.05)
        return self.instance(id)

    def instance(self, id: str) -> Instance:
        """The row as it is."""
        row: Instance = self.disk.table(Instance)[id]
        return row

    def operation(self, id: str) -> Operation:
        """The row as it is."""
        row: Operation = self.disk.table(Operation)[id]
        return row

    def budget(self) -> Budget:
        """The account's budget."""
        row: Budget = self.disk.table(Budget)["budget_a"]
        return row

    async def limit(self, nano: int, period: Period = Period.TOTAL) -> None:
        """Give the account a budget."""
        await self.put(Budget("budget_a", "acct_a", "b", nano, "USD", period, 0, START))

    def posted(self, id: str, kind: LedgerKind = LedgerKind.CHARGE) -> int:
        """The sum of a ledger for an instance."""
        rows: list[LedgerEntry] = list(self.disk.table(LedgerEntry).values())
        return sum(row.amount_nano for row in rows if row.instance_id == id and row.kind is kind)

    def alerts(self) -> list[int]:
        """Thresholds that became events."""
        return [
            watch_pb2.InstanceEvent.FromString(event.body).budget_alert.threshold_percent
            for event in self.disk.events
            if event.kind is EventKind.BUDGET
        ]

    @property
    def seconds(self) -> float:
        """Virtual time since the start."""
        return self.loop.virtual


def in_virtual_time(test: Callable[[Lab], Awaitable[None]] | None = None, **policy: Any) -> Callable[..., Any]:
    """Run an async test in virtual time; it takes seconds of real time for days of virtual."""
    if test is None:
        return functools.partial(in_virtual_time, **policy)

    def run() -> None:
        loop = VirtualLoop()
        asyncio.set_event_loop(loop)

        async def play() -> None:
            lab = Lab(loop, Policy(**policy))
            await lab.put(Account("acct_a", "a", "USD", 100, START))
            try:
                await test(lab)
            finally:
                for task in lab.tasks:
                    task.cancel()
                await asyncio.sleep(0)

        try:
            loop.run_until_complete(play())
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            asyncio.set_event_loop(None)

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    run.__module__ = test.__module__
    return run
