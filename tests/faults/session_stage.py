"""A plane before the simulated Vast.ai that speaks to the shopper's clients, in virtual time; it can be killed -9."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from controlplane.api.dialects.shopper.translate import STATES
from controlplane.domain.billing import SECOND, cost
from controlplane.domain.instance import Instance
from controlplane.domain.ledger import LedgerKind
from controlplane.domain.money import NANO
from controlplane.domain.offer import Tier
from controlplane.domain.operation import Operation
from controlplane.simulators.control import ledger
from controlplane.simulators.vastai.market import VastMarketplace
from tests.faults.checks import Evidence, broken
from tests.faults.lives import DEPLOYMENT, Life
from tests.faults.stage import PATIENCE_S, Stage
from tests.unit.dialects.shopper_desk import Desk, hub_over

DOWN_S = 7.0  # from a kill to the next life
ENDING_S = 120.0  # from the wish to end to its confirmation, with a kill between them
MACHINE = {"boot_s": [3.0, 3.0], "ssh_after_s": 1.0, "keys_after_s": 1.0}


class SessionStage(Stage):
    """Sessions are created, used and ended by a client that asks again when it hears nothing."""

    def __init__(self, began_s: float = 0.0) -> None:
        super().__init__({"vastai": 8}, began_s)
        self.desk: Desk
        self._doomed: Life | None = None
        self.vast: VastMarketplace = self.markets["vastai"]  # type: ignore[assignment]
        self.vast.configure(MACHINE)

    async def boot(self) -> None:
        """See `Stage.boot`."""
        await super().boot()
        life, hub = self.lives.life, hub_over(self.core)
        assert life is not None
        await self.lives.spawn(hub.start(), life)
        for loop in (hub.run(), hub.watch_keys()):
            self.lives.spawn(loop, life)
        self.desk = Desk(self.core, hub)

    def doom(self, ports: int) -> None:
        """kill -9 when the plane has used so many more of its ports: the store, or the marketplace."""
        self._doomed = self.lives.life
        assert self._doomed is not None
        self._doomed.doom = ports

    @property
    def died(self) -> bool:
        """Whether the kill has come."""
        return self._doomed is not None and self._doomed.died_at != ""

    async def spare(self) -> None:
        """A plane lives, and lives on."""
        if self.lives.life is not None:
            self.lives.life.doom = None
        await self.revive()

    async def revive(self, after_s: float = DOWN_S) -> None:
        """Start another plane if none lives."""
        if self.lives.life is None:
            await asyncio.sleep(after_s)
            await self.boot()

    async def sleep_until(self, id: str, second: float, *, down: bool) -> None:
        """Wait for a second of the session's life, if `down` without a plane."""
        left_s = second - self.since_creation_s(id, self.lives.clock.now())
        if down:
            self.lives.kill()
            await self.revive(left_s)
        else:
            await asyncio.sleep(left_s)

    async def insist(self, what: Callable[[Desk], Coroutine[Any, Any, Any]]) -> Any:
        """The answer to a call; a plane that died under it is started again and asked again."""
        while True:
            life = self.lives.life
            if life is not None:
                with contextlib.suppress(asyncio.CancelledError):  # it died with the call
                    answer = await self.lives.spawn(what(self.desk), life)
                    if answer is not None:
                        return answer
            await self.revive()

    async def rented(self, **fields: Any) -> str:
        """The id of a session that runs, on the cheapest offer."""
        id = await self.started(**fields)
        await self.until(id, "running")
        return id

    async def started(self, **fields: Any) -> str:
        """The id of a new session."""
        (offer, *_) = sorted(
            (each for each in self.core.offers if each.tier is Tier.ON_DEMAND),
            key=lambda each: each.price_nano_per_hour,
        )
        made = await self.desk.create(offer_id=offer.id, **fields)
        assert made.session.status == "provisioning"
        return str(made.session.id)

    async def settled(self, id: str) -> Instance:
        """The session's row once nothing is left to do for it. A plane that dies meanwhile is followed by another, one
        that did not lives on."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.row(id).settled:
                await self.revive()
                await asyncio.sleep(0.5)
        await self.spare()
        assert (await self.insist(lambda desk: desk.get(id))).status == STATES[self.row(id).state]
        return self.row(id)

    async def until(self, id: str, status: str, within_s: float = 1200.0) -> None:
        """Wait until a session reads so."""
        async with asyncio.timeout(within_s):
            while (await self.insist(lambda desk: desk.get(id))).status != status:
                await asyncio.sleep(0.5)

    def since_creation_s(self, id: str, at: int | None) -> float:
        """A moment of a session's life."""
        assert at is not None
        return (at - self.row(id).created_at) / SECOND

    @property
    def destroys(self) -> list[int | str]:
        """What came of every destroy that the marketplace heard of."""
        return [call.outcome for call in self.vast.journal.entries("destroy")]

    async def check_bills(self, id: str) -> None:
        """One machine was made for an ended session, and ended. The session costs its price times the time that it
        ran; its machine costs us what the marketplace billed, to a second's price."""
        row, books = self.row(id), ledger(self.vast)
        (machine,) = books["machines"]
        assert machine["ended_at"] is not None
        assert len(self.vast.journal.entries("create")) == 1
        assert row.gone_at is not None
        assert row.end_at is not None
        ran = 0 if row.run_at is None else cost(row.price_nano_per_hour, row.run_at, row.end_at)
        assert self.posted(id, LedgerKind.CHARGE) == ran
        assert (await self.desk.cost(session_id=id)).total_cost == ran / NANO
        second = row.price_nano_per_hour / 3600
        assert abs(self.posted(id, LedgerKind.PROVIDER_COST) - machine["billed_nano"]) <= second
        disk, calls = self.lives.disk, {"vastai": self.vast.journal.as_json()}
        assert broken(Evidence(disk, list(disk.table(Operation)), DEPLOYMENT, {"vastai": books}, calls)) == []
