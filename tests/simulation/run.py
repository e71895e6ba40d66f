"""One seeded history: a plane that is killed again and again, callers that ask, and a market that misbehaves.

Every suspension of the core is a crash point: a kill happens between two steps of the event loop, wherever the tasks
of that incarnation happen to wait. The killed incarnation's ports raise from then on and its tasks are dropped.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import hashlib
import random
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import structlog

from controlplane.adapters.bus.memory import MemoryBus
from controlplane.adapters.secrets import MasterKeySecrets
from controlplane.adapters.store.memory import MemoryDisk, MemoryStore
from controlplane.adapters.store.schema import migrate
from controlplane.adapters.store.sqlite import SqliteStore
from controlplane.adapters.system import SystemIds
from controlplane.domain.account import Account
from controlplane.domain.budget import Budget, Period
from controlplane.domain.errors import PlaneError
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation
from controlplane.domain.principal import ALL, SCOPES, Principal
from controlplane.domain.requirements import Requirements
from controlplane.ports.bus import Topic
from controlplane.ports.ssh import ParsedSshKey
from controlplane.ports.store import Get, UnitOfWork
from controlplane.reconcile.inventory import recall_failures, refresh_offers
from controlplane.reconcile.loop import InstanceLoop, LoopTimes
from controlplane.reconcile.sweep import Sweeper
from controlplane.usecases import instances, operations
from controlplane.usecases.core import Core, Policy
from controlplane.usecases.idempotency import RequestKey
from controlplane.usecases.offerbook import OfferBook
from controlplane.usecases.wishes import CreateInstance
from tests.simulation.invariants import INVARIANTS
from tests.simulation.world import Faults, Market, SimProber, SimProvider, VirtualClock, VirtualLoop
from tests.support.disk import read_disk
from tests.support.fakes import START, FakeIds

CALLER = Principal("acct_a", "key_a", frozenset(SCOPES))
POLICY = Policy(stop_grace_s=5.0, allocate_deadline_s=300.0, meter_interval_s=20.0, hold_window_s=40.0)
SWEEP_S = 15.0


class Killed(BaseException):
    """The process is dead; nothing of it runs on."""


class SimKeys:
    """Every key is good."""

    async def parse(self, line: str) -> ParsedSshKey | None:
        return ParsedSshKey(line, "SHA256:x")


class Gated:
    """A store whose process can die or freeze: nothing of a dead one reads or commits."""

    gate: Any = None

    async def run(self, unit: Any) -> Any:
        await self.gate()
        return await super().run(unit)  # type: ignore[misc]

    async def _apply(self, units: Any) -> Any:
        await self.gate()
        await asyncio.sleep(0)  # the writer's thread hop: a crash may come between queue and commit
        await self.gate()
        outcomes = await self.commit_inline(units)
        await asyncio.sleep(0)  # ... and between commit and answer
        return outcomes

    async def get(self, scope: Any, table: Any, id: str) -> Any:
        await self.gate()
        return await super().get(scope, table, id)  # type: ignore[misc]

    async def commit_inline(self, units: Any) -> Any:
        raise NotImplementedError


class GatedMemory(Gated, MemoryStore):
    """Over a MemoryDisk, which is what survives."""

    async def commit_inline(self, units: Any) -> Any:
        return await MemoryStore._apply(self, units)


class GatedSqlite(Gated, SqliteStore):
    """Over a real SQLite file; its writer's thread is left out, its transactions are not."""

    async def commit_inline(self, units: Any) -> Any:
        try:
            return self._commit(units)
        finally:
            self._remember()  # as the store does on the loop's thread after its writer's


@cache
def empty_database() -> Path:
    """A migrated file to copy from. Made before the virtual loop is: migrations need a real one."""
    path = Path(tempfile.mkdtemp(prefix="gpuplane-sim-")) / "empty.db"
    asyncio.run(migrate(f"sqlite:///{path}", SystemIds(), lambda: "sim"))
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    return path


class Incarnation:
    """One life of one replica. Its ports all pass `gate`."""

    def __init__(self) -> None:
        self.dead = False
        self.frozen_until = 0.0
        self.died_at = ""
        self.doom: int | None = None  # die at that many ports from here
        self.die: Callable[[], None] = lambda: None
        self.core: Core

    def alive(self) -> None:
        if self.dead:
            raise Killed

    async def gate(self) -> None:
        """Dead: raise. Frozen (SIGSTOP): stand still, then go on as if nothing had happened."""
        self.alive()
        loop = asyncio.get_running_loop()
        if self.doom is not None:
            self.doom -= 1
            if self.doom < 0:
                self.dead = True
                self.died_at = _caller()
                loop.call_soon(self.die)
                raise Killed
        if loop.time() < self.frozen_until:
            await asyncio.sleep(self.frozen_until - loop.time())
        self.alive()


@dataclass
class History:
    """What happened, and what was found wrong."""

    seed: int
    lines: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    crash_points: set[str] = field(default_factory=set)
    kills: int = 0
    frozen: int = 0
    machines: int = 0
    operations: int = 0

    @property
    def trace(self) -> str:
        """A hash of everything that happened."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()[:16]


class Simulation:
    """A seeded world with one or two replicas over one disk."""

    def __init__(self, seed: int, *, sqlite: bool = False) -> None:
        self.path = _fresh_copy(seed) if sqlite else None
        self.rng = random.Random(seed)
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.ids = FakeIds(seed, self.clock)
        self.disk = MemoryDisk()
        self.history = History(seed)
        self.markets = [
            Market(name, self.loop, random.Random(seed * 7 + n), Faults.draw(self.rng))
            for n, name in enumerate(("alpha", "beta"))
        ]
        self.replicas: dict[str, Incarnation] = {}
        self.accepted: list[str] = []
        self.names = [f"r{n}" for n in range(self.rng.choice((1, 1, 2)))]
        self.freezes = self.rng.random() < 0.5
        self._lives = 0
        self._tasks: list[tuple[weakref.ref[asyncio.Task[Any]], Incarnation]] = []
        self._spawning: Incarnation | None = None

    def note(self, text: str) -> None:
        self.history.lines.append(f"{self.loop.virtual:9.3f} {text}")

    def open_store(self, committed: Callable[[int, float], None]) -> Any:
        """A new life's view of what survives."""
        if self.path is None:
            return GatedMemory(self.disk, self.clock, self.ids, committed)
        store = GatedSqlite(self.path, self.clock, self.ids, committed)
        store._write_to.execute("PRAGMA synchronous=OFF")  # a killed process is not a power cut
        return store

    def survived(self) -> MemoryDisk:
        """What is committed now."""
        return self.disk if self.path is None else read_disk(self.path)

    # Lives and deaths

    def boot(self, name: str) -> None:
        """Start a replica under a new identity."""
        self._lives += 1
        holder = f"{name}-{self._lives}"
        life = Incarnation()
        life.die = lambda: self.kill(name)
        bus = MemoryBus()
        store = self.open_store(lambda units, seconds: bus.notify(Topic.EVENTS))
        store.gate = life.gate
        providers = {m.name: SimProvider(m, life.gate) for m in self.markets}
        life.core = Core(
            store=store, clock=self.clock, ids=self.ids, bus=bus, secrets=MasterKeySecrets(b"k" * 32),
            ssh_keys=SimKeys(), prober=SimProber(life.gate, self.rng), providers=providers,
            offers=OfferBook(), policy=POLICY, deployment_id="sim",
        )  # fmt: skip
        for provider in providers.values():
            life.core.offers.update(provider.name, tuple(provider.catalogue()), life.core.clock.now())
        coroutines = [InstanceLoop(life.core, holder, LoopTimes()).run()]
        for provider in providers.values():
            coroutines.append(Sweeper(life.core, provider).run(SWEEP_S))
            coroutines.append(refresh_offers(life.core, provider, 30.0))
        coroutines.append(recall_failures(life.core))
        for coroutine in coroutines:
            self.spawn(_quietly(coroutine), life)
        self.replicas[name] = life
        self.note(f"boot {holder}")

    def spawn(self, coroutine: Any, life: Incarnation) -> asyncio.Task[Any]:
        """A task of that life; tasks that it makes belong to it too."""
        self._spawning = life
        try:
            return self.loop.create_task(coroutine)
        finally:
            self._spawning = None

    def kill(self, name: str) -> None:
        """kill -9: ports raise from now on, tasks are dropped where they stand."""
        life = self.replicas.pop(name, None)
        if life is None:
            return
        life.dead = True
        self.history.kills += 1
        if life.died_at:
            self.history.crash_points.add(life.died_at)
        for reference, owner in self._tasks:
            task = reference()
            if owner is life and task is not None and not task.done():
                self.history.crash_points.add(_where(task))
                task.cancel()
        self._tasks = [(reference, owner) for reference, owner in self._tasks if owner is not life]
        self.note(f"kill {name}")

    # Callers

    async def call(self, what: Any) -> Any:
        """A caller's request to some replica; a dead one gives no answer, and the caller knows nothing."""
        if not self.replicas:
            return None
        life = self.rng.choice(list(self.replicas.values()))
        task = self.spawn(what(life.core), life)
        with contextlib.suppress(asyncio.CancelledError, Killed, PlaneError):
            return await task
        return None

    async def caller(self, number: int) -> None:
        """Create, perhaps again under the same id, perhaps cancel, extend, terminate."""
        rng = random.Random(self.history.seed * 1000 + number)
        await asyncio.sleep(rng.random() * 60)
        wish = CreateInstance(
            requirements=Requirements(gpu_types=("RTX 4090",)) if rng.random() < 0.8 else None,
            offer_id="", ssh_public_keys=("ssh-ed25519 a",),
            reservation_s=rng.choice((None, None, 90, 200)), idle_timeout_s=rng.choice((0, 0, 60)),
            max_duration_s=rng.choice((None, 400)),
        )  # fmt: skip
        if wish.requirements is None:
            wish = CreateInstance(offer_id="alpha-o1", ssh_public_keys=("ssh-ed25519 a",))
        request = RequestKey("create", f"req-{number}", "same")
        operation = None
        for _ in range(20):
            operation = await self.call(lambda core: instances.create(core, CALLER, wish, request))
            if operation is not None:
                break
            await asyncio.sleep(rng.random() * 5)
        if operation is None:
            return
        self.accepted.append(operation.id)
        self.note(f"accepted {operation.id}")
        await asyncio.sleep(rng.random() * 120)
        if rng.random() < 0.2:
            await self.call(lambda core: operations.cancel(core, CALLER, operation.id))
        await asyncio.sleep(rng.random() * 200)
        for _ in range(50):
            ended = await self.call(
                lambda core: instances.terminate(
                    core, CALLER, operation.instance_id, force=rng.random() < 0.3,
                    request=RequestKey("terminate", f"end-{number}", "same"),
                )
            )  # fmt: skip
            if ended is not None:
                self.accepted.append(ended.id)
                return
            await asyncio.sleep(3)

    # The history

    async def chaos(self) -> None:
        """Kill, restart and freeze replicas at random moments for a while."""
        while self.loop.virtual < 240:
            await asyncio.sleep(self.rng.random() * 25)
            name = self.rng.choice(self.names)
            if self.freezes and self.rng.random() < 0.3:
                # SIGSTOP past the lease: somebody else takes over, and then the sleeper wakes.
                for market in self.markets:
                    market.froze = True
                self.replicas[name].frozen_until = self.loop.virtual + 5 + self.rng.random() * 15
                self.history.frozen += 1
                self.note(f"freeze {name}")
                continue
            # The kill falls between two steps of the loop, some steps from here.
            if self.rng.random() < 0.7:
                # ... or at a port: right before or after an effect.
                self.replicas[name].doom = self.rng.randrange(25)
                for _ in range(200):
                    await asyncio.sleep(0.05)
                    if name not in self.replicas:
                        break
            else:
                for _ in range(self.rng.randrange(60)):
                    await asyncio.sleep(0)
            self.kill(name)
            await asyncio.sleep(self.rng.random() * 8)
            self.boot(name)

    async def play(self) -> None:
        seeder = self.open_store(lambda units, seconds: None)
        seeder.gate = Incarnation().gate
        account = Account("acct_a", "a", "USD", 100, START)
        limit = self.rng.choice((10**12, 10**12, 30_000_000))
        budget = Budget("budget_a", "acct_a", "b", limit, "USD", Period.TOTAL, 0, START)

        def seed(tx: Any) -> None:
            tx.put(account)
            tx.put(budget)

        await seeder.run(UnitOfWork(ALL, [Get(Account, "acct_a")], seed))
        for name in self.names:
            self.boot(name)
        callers = [self.loop.create_task(self.caller(n)) for n in range(self.rng.randrange(3, 9))]
        chaos = self.loop.create_task(self.chaos())
        for task in (chaos, *callers):
            await task
        for market in self.markets:
            market.calm = True
        self.note("calm")
        await self._rest()

    async def _rest(self) -> None:
        """Wait until everything is settled, then for two sweeps."""
        for _ in range(400):
            await asyncio.sleep(5)
            disk = self.survived()
            rows = disk.table(Instance).values()
            if all(row.settled for row in rows) and all(o.done for o in disk.table(Operation).values()):
                break
        await asyncio.sleep(4 * SWEEP_S + 40)

    def run(self) -> History:
        """Play the history and check the invariants."""
        structlog.configure(processors=[_silent])
        asyncio.set_event_loop(self.loop)
        self.loop.set_task_factory(self._task)
        self.loop.set_exception_handler(self._unhandled)
        try:
            self.loop.run_until_complete(self.play())
            self.disk = self.survived()
            for check in INVARIANTS:
                self.history.broken += [
                    f"{check.__name__}: {text}" for text in check(self.disk, self.markets, self.accepted)
                ]
        except Exception as error:
            self.history.broken.append(f"the simulation itself failed: {error!r}")
        finally:
            self._finish()
        self.history.machines = sum(len(m.machines) for m in self.markets)
        self.history.operations = len(self.disk.table(Operation))
        for event in self.disk.events:
            self.history.lines.append(f"event {event.seq} {event.kind} {event.subject_id} {event.revision}")
        return self.history

    def _task(self, loop: Any, coroutine: Any, **kwargs: Any) -> asyncio.Task[Any]:
        """Tasks belong to the life of the task that made them, so that a kill finds them all."""
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **kwargs)
        life = self._spawning
        if life is None and (parent := asyncio.current_task(loop)) is not None:
            life = next((owner for reference, owner in self._tasks if reference() is parent), None)
        if life is not None:
            self._tasks = [(r, o) for r, o in self._tasks if (t := r()) is not None and not t.done()]
            self._tasks.append((weakref.ref(task), life))
        return task

    def _unhandled(self, loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and not isinstance(error, Killed | asyncio.CancelledError):
            self.history.broken.append(f"unhandled: {context.get('message')} {error!r}")

    def _finish(self) -> None:
        for life in self.replicas.values():
            life.dead = True
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        with contextlib.suppress(BaseException):
            self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()
        if self.path is not None:
            shutil.rmtree(self.path.parent, ignore_errors=True)


def _fresh_copy(seed: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"gpuplane-sim-{seed}-"))
    return Path(shutil.copy(empty_database(), folder / "plane.db"))


def _silent(*_: Any) -> Any:
    raise structlog.DropEvent


async def _quietly(coroutine: Any) -> None:
    with contextlib.suppress(Killed):
        await coroutine


def _caller() -> str:
    """The innermost line of our core that is asking a port."""
    frame = sys._getframe(1)
    port = ""
    while frame.f_back is not None:
        name = frame.f_code.co_filename
        if "src/controlplane/" in name and "adapters/" not in name:
            return f"{name.rsplit('controlplane/', 1)[1]}:{frame.f_lineno} in {port}"
        port = f"{frame.f_code.co_name}:{frame.f_lineno}" if "simulation" in name else port
        frame = frame.f_back
    return port


def _where(task: asyncio.Task[Any]) -> str:
    """The innermost line of our core at which a task waits."""
    found, coroutine = "not begun", task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None and "controlplane/" in frame.f_code.co_filename:
            found = f"{frame.f_code.co_filename.rsplit('controlplane/', 1)[1]}:{frame.f_lineno}"
        coroutine = getattr(coroutine, "cr_await", None)
    return found
