"""A plane with the real adapters before well-behaved simulated marketplaces, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

from controlplane.domain.instance import Instance
from controlplane.domain.ledger import LedgerEntry, LedgerKind
from controlplane.domain.operation import Operation
from controlplane.domain.requirements import Requirements
from controlplane.simulators.catalogue import model
from controlplane.simulators.marketplace import Marketplace
from controlplane.usecases import instances
from controlplane.usecases.core import Core
from controlplane.usecases.idempotency import RequestKey
from controlplane.usecases.wishes import CreateInstance
from tests.faults.lives import CALLER_KEY, InlineThreads, Lives
from tests.faults.markets import SimulatorClock
from tests.simulation.world import VirtualClock

T = TypeVar("T")
PATIENCE_S = 600.0


class Stage:
    """A plane before well-behaved marketplaces."""

    def __init__(self, offers: dict[str, int], began_s: float = 0.0) -> None:
        """`offers` that each marketplace has; it is `began_s` after START when the plane comes up."""
        self.loop = InlineThreads()
        self.loop.virtual = began_s
        clock = SimulatorClock(VirtualClock(self.loop))
        self.markets: dict[str, Marketplace[Any]] = {
            name: model(name)(clock, seed=1, offers=count) for name, count in offers.items()
        }
        self.lives = Lives(1, self.markets, self.loop, lambda text: None)
        self._created = 0

    def play(self, scenario: Callable[[Self], Awaitable[T]]) -> T:
        """Run a scenario to its end."""

        async def whole() -> T:
            await self.lives.open_account()
            await self.boot()
            await self.loaded()
            return await scenario(self)

        try:
            return self.loop.run_until_complete(whole())
        finally:
            self.lives.close()

    async def boot(self) -> None:
        """Start a plane."""
        await self.lives.boot()

    async def loaded(self) -> None:
        """Every marketplace's offers are in the book."""
        selling = {name for name, market in self.markets.items() if market.offers_json()}
        async with asyncio.timeout(PATIENCE_S):
            while {offer.provider for offer in self.core.offers} != selling:
                await asyncio.sleep(1.0)

    async def refreshed(self) -> None:
        """Long enough for the book to learn of a change."""
        await asyncio.sleep(150.0)

    @property
    def core(self) -> Core:
        """The plane's."""
        assert self.lives.life is not None
        return self.lives.life.core

    async def create(self, requirements: Requirements, cap: int | None = None, **more: Any) -> Operation:
        """Accept a wish; `more` as in CreateInstance."""
        self._created += 1
        wish = CreateInstance(
            requirements=requirements, max_price_nano_per_hour=cap, ssh_public_keys=(CALLER_KEY,), **more
        )
        request = RequestKey("create", f"req-{self._created}", "same")
        operation = await self.lives.call(lambda core, me: instances.create(core, me, wish, request))
        assert isinstance(operation, Operation)
        return operation

    async def done(self, operation: Operation) -> tuple[Operation, Instance]:
        """The operation once it has ended, and its instance."""
        until = self.loop.virtual + PATIENCE_S
        while not self.lives.disk.table(Operation)[operation.id].done:
            assert self.loop.virtual < until, self.lives.disk.table(Operation)[operation.id]
            await asyncio.sleep(0.5)
        return self.lives.disk.table(Operation)[operation.id], self.lives.disk.table(Instance)[operation.instance_id]

    async def reached(self, id: str, wanted: Callable[[Instance], bool], patience_s: float = PATIENCE_S) -> Instance:
        """An instance as soon as it is as wanted."""
        until = self.loop.virtual + patience_s
        while not wanted(row := self.row(id)):
            assert self.loop.virtual < until, row
            await asyncio.sleep(0.5)
        return row

    def row(self, id: str) -> Instance:
        """An instance as it is on disk."""
        row: Instance = self.lives.disk.table(Instance)[id]
        return row

    def posted(self, id: str, kind: LedgerKind) -> int:
        """The sum of a ledger."""
        entries: list[LedgerEntry] = list(self.lives.disk.table(LedgerEntry).values())
        return sum(entry.amount_nano for entry in entries if entry.instance_id == id and entry.kind is kind)
