"""The world outside a plane, seeded: virtual time, a marketplace that misbehaves, and machines that bill."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from controlplane.domain.offer import Offer, Tier
from controlplane.ports.probe import ProbeResult
from controlplane.ports.provider import (
    Ambiguous,
    AuthFailed,
    Capabilities,
    Created,
    CreatedButUnusable,
    Destruction,
    LaunchOutcome,
    LaunchSpec,
    Listing,
    Machine,
    MachineStatus,
    NoFunds,
    Provider,
    ProviderError,
    RateLimited,
    Rejected,
    SshEndpoint,
    Stockout,
    TooDear,
    Utilisation,
)
from tests.support.fakes import START

LATE_CREATE_S = 2.0

Gate = Callable[[], Awaitable[None]]
"""What every port of an incarnation passes: raises once it was killed, stands still while it is frozen."""


class _NoIo(selectors.BaseSelector):
    """A selector that never waits: when nothing is runnable, time jumps to the next timer."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._files: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, 0, events, data)
        self._files[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._files.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("deadlock: nothing is runnable and no timer is set")
        if timeout > 0:
            self._loop.virtual += timeout
        return []

    def get_map(self) -> Any:
        return self._files


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. Threads and sockets are refused: their faults are injected elsewhere."""

    def __init__(self) -> None:
        self.virtual = 0.0
        super().__init__(_NoIo(self))

    def time(self) -> float:
        return self.virtual

    def run_in_executor(self, *_: Any) -> Any:
        raise RuntimeError("the simulation has no threads")


class VirtualClock:
    """The loop's time as a Clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> int:
        return START + round(self._loop.virtual * 1_000_000)

    def monotonic(self) -> float:
        return self._loop.virtual

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class SimMachine:
    """A machine at the marketplace, billed from creation until destroyed."""

    id: str
    label: str
    made_at: int
    listed_at: int
    ready_at: int
    price: int
    status: MachineStatus = MachineStatus.STARTING
    stop_at: int | None = None  # destroyed once this has passed
    gone_at: int | None = None
    doomed_at: int | None = None  # lost or preempted by itself
    idle_from: int | None = None
    keys: list[str] = field(default_factory=list)  # added since its creation


@dataclass
class Faults:
    """Probabilities of misbehaviour, per call."""

    stockout: float = 0.0
    rejected: float = 0.0
    rate_limited: float = 0.0
    unusable: float = 0.0
    no_funds: float = 0.0
    too_dear: float = 0.0
    lost_answer: float = 0.0  # the machine was made, the answer is a timeout or garbage
    lost_request: float = 0.0  # the machine was not made, the answer is a timeout or garbage
    call_error: float = 0.0
    incomplete_listing: float = 0.0
    hang: float = 0.0
    late_listing_s: float = 0.0
    never_ready: float = 0.0
    dies: float = 0.0
    destroy_pending: float = 0.0

    @classmethod
    def draw(cls, rng: random.Random) -> Faults:
        """A mix: each fault is off in half of the worlds."""

        def maybe(most: float) -> float:
            return rng.random() * most if rng.random() < 0.5 else 0.0

        return cls(
            maybe(0.4), maybe(0.1), maybe(0.3), maybe(0.3), maybe(0.05), maybe(0.2), maybe(0.4), maybe(0.4), maybe(0.3),
            maybe(0.4), maybe(0.1), maybe(8.0), maybe(0.3), maybe(0.2), maybe(0.7),
        )  # fmt: skip


@dataclass
class Market:
    """One marketplace that survives every crash of the plane. It has no idempotency key."""

    name: str
    loop: VirtualLoop
    rng: random.Random
    faults: Faults
    machines: dict[str, SimMachine] = field(default_factory=dict)
    launches: list[str] = field(default_factory=list)  # labels that were asked for, in order
    doubles: list[str] = field(default_factory=list)  # made while the same instance had another machine
    froze: bool = False  # a plane stood still past its lease in this history
    calm: bool = False  # no more faults: everything must come to rest
    _count: int = 0

    def now(self) -> int:
        return START + round(self.loop.virtual * 1_000_000)

    def chance(self, probability: float) -> bool:
        return not self.calm and self.rng.random() < probability

    def make(self, spec: LaunchSpec) -> SimMachine:
        self._count += 1
        now = self.now()
        never = self.chance(self.faults.never_ready)
        dies = self.chance(self.faults.dies)
        machine = SimMachine(
            id=f"{self.name}-m{self._count}", label=spec.label, made_at=now,
            listed_at=now + int(self.rng.random() * self.faults.late_listing_s * 1e6),
            ready_at=now + int((1e9 if never else self.rng.random() * 20) * 1e6),
            price=spec.offer.price_nano_per_hour,
            doomed_at=now + int(self.rng.random() * 400e6) if dies else None,
            idle_from=now + int(self.rng.random() * 300e6),
        )  # fmt: skip
        mine = spec.label.rsplit("-", 1)[0]
        if any(m.label.rsplit("-", 1)[0] == mine and (m.stop_at is None or m.stop_at > now) for m in self.alive):
            self.doubles.append(spec.label)
        self.machines[machine.id] = machine
        return machine

    def settle(self, machine: SimMachine) -> None:
        """Let time act on a machine."""
        now = self.now()
        if machine.gone_at is not None:
            return
        if machine.stop_at is not None and now >= machine.stop_at:
            machine.gone_at = machine.stop_at
            machine.status = MachineStatus.GONE
        elif machine.doomed_at is not None and now >= machine.doomed_at:
            machine.status = MachineStatus.FAILED
        elif now >= machine.ready_at and machine.status is MachineStatus.STARTING:
            machine.status = MachineStatus.RUNNING

    @property
    def alive(self) -> list[SimMachine]:
        for machine in self.machines.values():
            self.settle(machine)
        return [m for m in self.machines.values() if m.gone_at is None]


class SimProvider(Provider):
    """The adapter's side of a Market, owned by one incarnation of a plane."""

    def __init__(self, market: Market, gate: Gate) -> None:
        self._market = market
        self._gate = gate
        self.name = market.name
        self.capabilities = Capabilities(
            launch_timeout_s=20.0,
            call_timeout_s=8.0,
            listing_delay_s=market.faults.late_listing_s,
            late_create_s=LATE_CREATE_S,
            transition_poll_s=1.0,
            steady_poll_s=10.0,
            start_deadline_s=60.0,
            concurrency=8,
            utilisation=True,
            add_keys=True,
        )

    async def _travel(self, most: float = 0.4) -> None:
        await self._gate()
        await asyncio.sleep(self._market.rng.random() * most)
        await self._gate()

    async def _call(self) -> None:
        await self._travel()
        if self._market.chance(self._market.faults.hang):
            await asyncio.sleep(3600)
        if self._market.chance(self._market.faults.call_error):
            raise ProviderError("simulated fault")

    async def offers(self) -> tuple[Offer, ...]:
        await self._call()
        return tuple(self.catalogue())

    def catalogue(self) -> list[Offer]:
        return [
            Offer(
                f"{self.name}-o{n}", self.name, "RTX 4090", 1, 24, 8, 32, 500, "eu", "somewhere", Tier.ON_DEMAND,
                (40 + n) * 10_000_000, "USD", 5, self._market.now(),
            )
            for n in range(4)
        ]  # fmt: skip

    async def launch(self, spec: LaunchSpec) -> LaunchOutcome:
        market, faults = self._market, self._market.faults
        await self._travel()
        market.launches.append(spec.label)
        for probability, outcome in (
            (faults.stockout, Stockout("none left")),
            (faults.rejected, Rejected("bad request")),
            (faults.rate_limited, RateLimited(2.0)),
            (faults.no_funds, NoFunds("no money")),
            (faults.too_dear, TooDear(10**12)),
            (faults.no_funds / 4, AuthFailed("no entry")),
        ):
            if market.chance(probability):
                await self._travel()
                return outcome
        if market.chance(faults.lost_request):
            return await self._lost()
        # The request is on its way: it takes effect whatever becomes of us.
        made: asyncio.Future[SimMachine] = market.loop.create_future()
        market.loop.call_later(market.rng.random() * LATE_CREATE_S, lambda: made.set_result(market.make(spec)))
        while not made.done():
            await asyncio.sleep(0.1)
            await self._gate()
        machine = made.result()
        await self._travel()
        if market.chance(faults.unusable):
            return CreatedButUnusable(machine.id, "bid too low")
        if market.chance(faults.lost_answer):
            return await self._lost()
        return Created(machine.id)

    async def _lost(self) -> LaunchOutcome:
        how = self._market.rng.random()
        if how < 0.3:
            await asyncio.sleep(3600)
        if how < 0.6:
            raise ProviderError("connection cut")
        return Ambiguous("502")

    def _view(self, machine: SimMachine) -> Machine:
        self._market.settle(machine)
        now = self._market.now()
        busy = machine.idle_from is None or now < machine.idle_from
        running = machine.status is MachineStatus.RUNNING
        return Machine(
            machine.id, machine.label, machine.status, SshEndpoint("host", 22, "root") if running else None,
            price_nano_per_hour=machine.price, created_at=machine.made_at,
            utilisation=Utilisation(90.0 if busy else 0.0, None, 0),
        )  # fmt: skip

    async def list(self, label_prefix: str) -> Listing:
        await self._call()
        now = self._market.now()
        shown = [self._view(m) for m in self._market.alive if m.label.startswith(label_prefix) and now >= m.listed_at]
        if self._market.chance(self._market.faults.incomplete_listing):
            return Listing(False, tuple(m for m in shown if self._market.rng.random() < 0.5))
        return Listing(True, tuple(shown))

    async def describe(self, machine_id: str) -> Machine:
        await self._call()
        machine = self._market.machines.get(machine_id)
        if machine is None:
            return Machine(machine_id, "", MachineStatus.GONE)
        return self._view(machine)

    async def add_key(self, machine_id: str, line: str) -> None:
        await self._call()
        machine = self._market.machines.get(machine_id)
        if machine is None or machine.gone_at is not None:
            raise ProviderError("no such machine")
        if line not in machine.keys:
            machine.keys.append(line)

    async def destroy(self, machine_id: str, *, grace_s: float) -> Destruction:
        await self._call()
        machine = self._market.machines.get(machine_id)
        if machine is None:
            return Destruction.GONE
        slow = self._market.rng.random() * 20 if self._market.chance(self._market.faults.destroy_pending) else 0.0
        wanted = self._market.now() + int(min(grace_s, self._market.rng.random() * 5 + slow) * 1e6)
        machine.stop_at = wanted if machine.stop_at is None else min(machine.stop_at, wanted)
        self._market.settle(machine)
        await self._travel()
        return Destruction.GONE if machine.gone_at is not None else Destruction.PENDING


class SimProber:
    """SSH answers as soon as the machine runs, or a little later."""

    def __init__(self, gate: Gate, rng: random.Random) -> None:
        self._gate = gate
        self._rng = rng

    def public_key(self, private_seed: bytes) -> str:
        return "ssh-ed25519 probe"

    async def probe(self, endpoint: SshEndpoint, private_seed: bytes, deadline_s: float) -> ProbeResult:
        await self._gate()
        await asyncio.sleep(self._rng.random())
        await self._gate()
        if self._rng.random() < 0.3:
            return ProbeResult(False, reason="connection refused")
        return ProbeResult(True, host_key="ssh-ed25519 host")

    async def model_health(self, url: str, api_key: str, deadline_s: float) -> ProbeResult:
        return ProbeResult(True)

    async def http_health(self, url: str, deadline_s: float) -> ProbeResult:
        return ProbeResult(True)


__all__ = ["Faults", "Market", "SimProber", "SimProvider", "VirtualClock", "VirtualLoop"]
