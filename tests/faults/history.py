"""One seeded history: callers that rent on three bad marketplaces, a plane that is killed again and again, and then
peace and a judgement."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Coroutine, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from controlplane.domain.errors import PlaneError
from controlplane.domain.ids import label as label_of_attempt
from controlplane.domain.instance import Instance
from controlplane.domain.offer import Tier
from controlplane.domain.operation import Operation
from controlplane.domain.principal import Principal
from controlplane.domain.requirements import Requirements
from controlplane.simulators.control import ledger
from controlplane.usecases import instances, operations
from controlplane.usecases.core import Core
from controlplane.usecases.idempotency import RequestKey
from controlplane.usecases.wishes import CreateInstance
from tests.faults.checks import PLANTED, STRANGER, Evidence, broken
from tests.faults.lives import CALLER_KEY, DEPLOYMENT, SWEEP_S, InlineThreads, Lives
from tests.faults.markets import EPISODES, PROVIDERS, bounce, markets, quiet, strikes
from tests.simulation.run import Killed
from tests.simulation.world import VirtualClock

GPUS = ("RTX 4090", "RTX 3090", "RTX A6000", "A100 SXM4 80GB", "H100 SXM", "L40S", "A100 PCIe 80GB", "RTX A4000")
ARRIVALS_S = 15.0  # between two callers, on average
SETTLE_S = 7200.0  # the most that a history may take to come to rest
SWEEPS = 2


@dataclass
class Story:
    """What happened, and what was found wrong."""

    seed: int
    lines: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    rentals: Counter[str] = field(default_factory=Counter)  # machines made for us, by marketplace
    outcomes: Counter[str] = field(default_factory=Counter)  # of attempts
    accepted: int = 0
    kills: int = 0
    extended: int = 0
    virtual_s: float = 0.0

    @property
    def trace(self) -> str:
        """A hash of everything that happened."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()[:16]


class History:
    """Plays one seed."""

    def __init__(self, seed: int, callers: int) -> None:
        self.story = Story(seed)
        self.loop = InlineThreads()
        self.rng = random.Random(seed)
        self.clock = VirtualClock(self.loop)
        self.markets = markets(self.clock, seed)
        self.lives = Lives(seed, self.markets, self.loop, self._note)
        self.accepted: list[str] = []
        self._callers = callers
        self._episodes: Counter[str] = Counter()
        self._quota_met = False

    def run(self) -> Story:
        """Play, come to rest, judge."""
        structlog.configure(processors=[self._log])
        self.loop.set_exception_handler(self._unhandled)
        try:
            self.loop.run_until_complete(self._play())
            self._judge()
        finally:
            self.lives.close()
        return self.story

    async def _play(self) -> None:
        await self.lives.open_account()
        await self.lives.boot()
        callers = [self.loop.create_task(self._caller(number)) for number in range(self._callers)]
        chaos = [self.loop.create_task(one) for one in (self._kill_again(), self._misfortunes())]
        await asyncio.gather(*callers)
        for task in chaos:
            task.cancel()
        await asyncio.gather(*chaos, return_exceptions=True)
        if self.lives.life is None:
            await self.lives.boot()
        else:
            self.lives.life.doom = None  # who was about to die lives on
        vast = self.markets["vastai"]
        self._quota_met = 0 < vast.faults.search_quota < max(vast.searches.values(), default=0)  # type: ignore[attr-defined]
        for market in self.markets.values():
            market.configure(quiet(market.faults.as_json()))
        self._note("calm")
        await self._rest()

    # Callers

    async def _caller(self, number: int) -> None:
        """Rent a machine by what it is to be, use it for a while, give it back; perhaps change its mind before."""
        rng = random.Random(f"{self.story.seed}/{number}")
        await asyncio.sleep(20.0 + rng.random() * ARRIVALS_S * self._callers)
        operation = await self._insist(lambda core, me: instances.create(
            core, me, self._wish(rng), RequestKey("create", f"req-{number}", "same")
        ), rng)  # fmt: skip
        if operation is None:
            return
        self.accepted.append(operation.id)
        if rng.random() < 0.1:
            await asyncio.sleep(rng.random() * 60)
            await self._insist(lambda core, me: operations.cancel(core, me, operation.id), rng)
        await asyncio.sleep(_lifetime_s(rng))
        if rng.random() < 0.2:  # where the disk is kept, it waits for the end below
            await self._insist(lambda core, me: instances.finish(core, me, operation.instance_id), rng)
            await asyncio.sleep(rng.random() * 300)
        ended = await self._insist(lambda core, me: instances.terminate(
            core, me, operation.instance_id, force=rng.random() < 0.3,
            request=RequestKey("terminate", f"end-{number}", "same"),
        ), rng)  # fmt: skip
        if ended is not None:
            self.accepted.append(ended.id)

    def _wish(self, rng: random.Random) -> CreateInstance:
        gpus = tuple(rng.sample(GPUS, 4))
        providers: tuple[str, ...] = (rng.choice(PROVIDERS),) if rng.random() < 0.6 else ()
        spot = rng.random() < 0.2
        if spot:
            providers = ("vastai",)
        return CreateInstance(
            requirements=Requirements(gpus, providers=providers, tier=Tier.SPOT if spot else None),
            max_price_nano_per_hour=rng.choice((None, None, 1_500_000_000, 4_000_000_000)),
            ssh_public_keys=(CALLER_KEY,), max_duration_s=rng.choice((None, None, 1800, 5400)),
            disk_gb=rng.choice((0, 40, 100)), preserve=providers == ("vastai",) and rng.random() < 0.4,
        )  # fmt: skip

    async def _insist(self, what: Callable[..., Coroutine[Any, Any, Any]], rng: random.Random) -> Any:
        """Until there is an answer: a dead plane gives none, and a refusal for want of offers may pass."""
        for _ in range(40):
            with contextlib.suppress(PlaneError, asyncio.CancelledError):
                answer = await self.lives.call(what)
                if answer is not None:
                    return answer
            await asyncio.sleep(2.0 + rng.random() * 8)
        return None

    # Misfortunes

    async def _kill_again(self) -> None:
        """kill -9 at a random moment, more often than not right before or after an effect; and a new life."""
        while True:
            await asyncio.sleep(15 + self.rng.random() * 90)
            life = self.lives.life
            if life is not None and self.rng.random() < 0.7:
                life.doom = self.rng.randrange(40)
                while self.lives.life is life:
                    await asyncio.sleep(0.05)
            else:
                for _ in range(self.rng.randrange(60)):
                    await asyncio.sleep(0)
                self.lives.kill()
            await asyncio.sleep(self.rng.random() * 10)
            await self.lives.boot()

    async def _misfortunes(self) -> None:
        """Outages, hanging, revoked keys; orphans under our labels, strangers' machines; bounced machines."""
        for name, market in self.markets.items():
            market.add_orphan(f"{STRANGER}{name}")
        while True:
            await asyncio.sleep(20 + self.rng.random() * 120)
            name = self.rng.choice(PROVIDERS)
            market = self.markets[name]
            what = self.rng.choice((*EPISODES, "orphan", "bounce"))
            if what in EPISODES:
                self._note(f"{what} at {name}")
                self._episodes[what] += 1
                forms = {"vastai": ("401", "403", "404"), "tensordock": ("401", "403"), "ionet": ("401",)}[name]
                market.configure({what: True, "hang_s": 60.0, "auth_form": self.rng.choice(forms)})
                await asyncio.sleep(20 + self.rng.random() * 70)
                market.configure({what: False, "hang_s": 30.0})
            elif what == "orphan" and self.accepted:
                self._plant(name)
            elif what == "bounce":
                await self._bounce()

    def _plant(self, provider: str) -> None:
        """A machine under a label of an instance that never asked for it."""
        row = self.rng.choice(sorted(self.lives.disk.table(Instance).values(), key=lambda row: row.id))
        number = PLANTED + self._episodes["orphan"]
        if number > 999:
            return
        self._episodes["orphan"] += 1
        self.markets[provider].add_orphan(label_of_attempt(DEPLOYMENT, row.id, number))
        self._note(f"an orphan at {provider}")

    async def _bounce(self) -> None:
        rows = [row for row in self.lives.disk.table(Instance).values() if row.provider == "vastai" and row.run_at]
        alive = sorted(row.machine_id for row in rows if row.machine_id and row.end_at is None)
        if alive:
            self._episodes["bounce"] += 1
            await bounce(self.markets["vastai"], self.rng.choice(alive), self.clock)

    # Afterwards

    async def _rest(self) -> None:
        """End what is left, wait until all is settled, and then for two sweeps."""
        began = self.loop.virtual
        asked: set[str] = set()
        while self.loop.virtual - began < SETTLE_S:
            rows = self.lives.disk.table(Instance).values()
            for row in [row for row in rows if not row.settled and not row.ending and row.id not in asked]:
                asked.add(row.id)
                ended = await self.lives.call(partial(_terminated, id=row.id))
                self.accepted.append(ended.id)
            every = self.lives.disk.table(Operation).values()
            if all(row.settled for row in rows) and all(operation.done for operation in every):
                break
            await asyncio.sleep(5)
        self._note(f"settled {self.loop.virtual - began:.0f} s after the last fault")
        await asyncio.sleep(SWEEPS * SWEEP_S)

    def _judge(self) -> None:
        story, disk = self.story, self.lives.disk
        ledgers = {name: ledger(market) for name, market in self.markets.items()}
        journals = {name: market.journal.as_json() for name, market in self.markets.items()}
        seen = Evidence(disk, self.accepted, DEPLOYMENT, ledgers, journals)
        story.broken += broken(seen)
        for name, calls in journals.items():
            story.struck += strikes(name, calls)
        story.struck += self._episodes
        story.struck["search_quota"] += self._quota_met
        story.rentals.update(machine.provider for machine in seen.machines if machine.attempt < PLANTED)
        attempts = [a for o in disk.table(Operation).values() for a in o.attempts]
        story.outcomes.update(attempt.outcome.value for attempt in attempts)
        story.accepted, story.kills = len(self.accepted), self.lives.kills
        story.extended = sum("extend" in c["endpoint"] for c in journals.get("ionet", ()))
        story.virtual_s = self.loop.virtual
        story.lines += [f"event {e.seq} {e.kind} {e.subject_id} {e.revision}" for e in disk.events]

    def _note(self, text: str) -> None:
        self.story.lines.append(f"{self.loop.virtual:9.3f} {text}")

    def _log(self, logger: Any, level: str, event: MutableMapping[str, Any]) -> Any:
        self._note(f"{level} {json.dumps(event, default=str)}")
        if level in ("error", "critical", "exception"):
            self.story.broken.append(f"the plane logged {level}: {json.dumps(event, default=repr)}")
        raise structlog.DropEvent

    def _unhandled(self, loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and not isinstance(error, Killed | asyncio.CancelledError):
            self.story.broken.append(f"unhandled: {context.get('message')} {error!r}")


async def _terminated(core: Core, me: Principal, id: str) -> Operation:
    return await instances.terminate(core, me, id, force=False, request=RequestKey("terminate", f"rest-{id}", "same"))


def _lifetime_s(rng: random.Random) -> float:
    """Most machines are used for minutes, some for longer than io.net is paid at a time."""
    return rng.uniform(3600, 6000) if rng.random() < 0.06 else rng.expovariate(1 / 300)
