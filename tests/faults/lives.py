"""One plane after another over the same database: the whole core and the real adapters, in virtual time, killed -9."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context, ContextVar, copy_context
from typing import Any
from urllib.parse import urlsplit

from controlplane.adapters.bus.memory import MemoryBus
from controlplane.adapters.prober import probe_public_key
from controlplane.adapters.providers.ionet import IonetProvider, IonetSettings
from controlplane.adapters.providers.tensordock import TensordockProvider, TensordockSettings
from controlplane.adapters.providers.vastai import VastaiProvider, VastaiSettings
from controlplane.adapters.secrets import MasterKeySecrets
from controlplane.adapters.store.memory import MemoryDisk
from controlplane.domain.account import Account
from controlplane.domain.principal import ALL, SCOPES, Principal
from controlplane.ports.bus import Topic
from controlplane.ports.meter import NoMeter
from controlplane.ports.probe import ProbeResult
from controlplane.ports.provider import Provider, SshEndpoint
from controlplane.ports.store import Get, UnitOfWork
from controlplane.reconcile.inventory import recall_failures, refresh_offers, refresh_templates
from controlplane.reconcile.loop import InstanceLoop, LoopTimes, release_held
from controlplane.reconcile.sweep import Sweeper
from controlplane.simulators.machines import Service
from controlplane.simulators.marketplace import Marketplace
from controlplane.usecases.core import Core, Policy
from controlplane.usecases.offerbook import OfferBook
from tests.faults.transport import Gate, InProcess
from tests.simulation.run import GatedMemory, Incarnation, Killed, SimKeys
from tests.simulation.world import VirtualClock, VirtualLoop
from tests.support.fakes import START, FakeIds

DEPLOYMENT = "sim"
CALLER = Principal("acct_a", "key_a", frozenset(SCOPES))
CALLER_KEY = probe_public_key(b"c" * 32)
SWEEP_S = 60.0
OFFERS_S = 30.0
POLICY = Policy(stop_grace_s=5.0, allocate_deadline_s=900.0)
STEP_S = 1e-6
UNREACHABLE = 0.005  # of all connections

Markets = Mapping[str, Marketplace[Any]]

_LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


class InlineThreads(VirtualLoop):
    """Virtual time in which work for threads is done at once: nothing that the core gives to a thread waits. A step of
    the loop takes a little time, as in life: what is due in less than a microsecond is due now for ever otherwise."""

    def time(self) -> float:
        """See asyncio."""
        self.virtual += STEP_S
        return self.virtual

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """See asyncio."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


class Life(Incarnation):
    """One process, and everything that runs in it."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[asyncio.Task[Any], None] = {}

    def own(self, task: asyncio.Task[Any]) -> None:
        """That task dies with it."""
        self.tasks[task] = None
        task.add_done_callback(lambda done: self.tasks.pop(done, None))


class SimulatedSsh:
    """A prober that knows who stands behind the addresses that marketplaces hand out."""

    def __init__(self, markets: Markets, gate: Gate) -> None:
        self._markets, self._gate = markets, gate

    def public_key(self, private_seed: bytes) -> str:
        """See `Prober`."""
        return probe_public_key(private_seed)

    async def probe(self, endpoint: SshEndpoint, private_seed: bytes, deadline_s: float) -> ProbeResult:
        """See `Prober`."""
        await self._gate()
        await asyncio.sleep(0.2)
        await self._gate()
        found = (market.who_answers(endpoint.host, endpoint.port) for market in self._markets.values())
        tenancy = next((one for one in found if one is not None), None)
        if tenancy is None or not tenancy.listening:
            return ProbeResult(False, reason="SSH is not reachable: Connection refused")
        host_key = f"ssh-ed25519 {tenancy.machine_id}/{tenancy.version}"
        if endpoint.host_key not in ("", host_key):
            return ProbeResult(False, host_key, "SSH presented another host key", permanent=True)
        mine = probe_public_key(private_seed).split()[:2]
        if tenancy.user != endpoint.user or mine not in [line.split()[-2:] for line in tenancy.keys]:
            return ProbeResult(False, host_key, "SSH refused the probe key", refused=True)
        return ProbeResult(True, host_key)

    async def jupyter_health(self, url: str, token: str, deadline_s: float) -> ProbeResult:
        """See `Prober`. Marketplaces rent bare machines here."""
        return ProbeResult(False, reason="no Jupyter server")

    async def model_health(self, url: str, api_key: str, deadline_s: float) -> ProbeResult:
        """See `Prober`."""
        service = await self._service(url)
        if service is None or not service.model:
            return ProbeResult(False, reason="no model server")
        return ProbeResult(service.api_key == api_key, reason="" if service.api_key == api_key else "refused the key")

    async def http_health(self, url: str, deadline_s: float) -> ProbeResult:
        """See `Prober`."""
        up = await self._service(url) is not None
        return ProbeResult(up, reason="" if up else "the server is not reachable")

    async def _service(self, url: str) -> Service | None:
        """What is served there now."""
        await self._gate()
        await asyncio.sleep(0.2)
        await self._gate()
        where = urlsplit(url)
        found = (market.who_answers(where.hostname or "", where.port or 0) for market in self._markets.values())
        tenancy = next((one for one in found if one is not None and one.listening), None)
        return tenancy.service if tenancy is not None else None


def adapters(markets: Markets, clock: VirtualClock, gate: Gate, rng: random.Random) -> dict[str, Provider]:
    """The real adapters, each before its marketplace."""

    def reach(name: str) -> InProcess:
        return InProcess(markets[name], gate, rng, UNREACHABLE)

    meter = NoMeter()
    made: dict[str, Callable[[], Provider]] = {
        "vastai": lambda: VastaiProvider(
            VastaiSettings(api_key="vast-key", url="http://vast.test", spot=True), clock, meter, reach("vastai")
        ),
        "tensordock": lambda: TensordockProvider(
            TensordockSettings(api_token="dock-token", url="http://dock.test/api/v2"), clock, meter,
            reach("tensordock"),
        ),
        "ionet": lambda: IonetProvider(
            IonetSettings(api_key="io-key", url="http://io.test"), clock, meter, reach("ionet")
        ),
    }  # fmt: skip
    return {name: made[name]() for name in markets}


class Lives:
    """A database that outlives its planes. At most one plane lives at a time."""

    def __init__(self, seed: int, markets: Markets, loop: VirtualLoop, note: Callable[[str], None]) -> None:
        self.loop, self.clock, self.disk = loop, VirtualClock(loop), MemoryDisk()
        self.ids = FakeIds(seed, self.clock)
        self.life: Life | None = None
        self.kills = 0
        self._markets, self._rng, self._note = markets, random.Random(seed), note
        self._count = 0
        loop.set_task_factory(_owned)

    def store(self, life: Life, committed: Callable[[int, float], None]) -> GatedMemory:
        """A life's view of the database."""
        store = GatedMemory(self.disk, self.clock, self.ids, committed)
        store.gate = life.gate
        return store

    async def open_account(self) -> None:
        """The account whose callers rent."""
        store = self.store(Life(), lambda units, seconds: None)
        account = Account(CALLER.account_id, "a", "USD", 10_000, START)
        await store.run(UnitOfWork(ALL, [Get(Account, account.id)], lambda tx: tx.put(account)))

    async def boot(self) -> Core:
        """Start a plane, as `gpuplane up` does after a kill."""
        self._count += 1
        life = self.life = Life()
        life.die = self.kill
        bus = MemoryBus()
        store = self.store(life, lambda units, seconds: bus.notify(Topic.EVENTS))
        providers = adapters(self._markets, self.clock, life.gate, self._rng)
        life.core = core = Core(
            store=store, clock=self.clock, ids=self.ids, bus=bus, secrets=MasterKeySecrets(b"k" * 32),
            ssh_keys=SimKeys(), prober=SimulatedSsh(self._markets, life.gate), providers=providers,
            offers=OfferBook(), policy=POLICY, deployment_id=DEPLOYMENT,
        )  # fmt: skip
        with contextlib.suppress(Killed):
            await release_held(store, "plane-")
        loops: list[Coroutine[Any, Any, Any]] = [
            InstanceLoop(core, f"plane-{self._count}", LoopTimes()).run(),
            recall_failures(core),
        ]
        for provider in providers.values():
            pause_s = max(OFFERS_S, provider.capabilities.offers_pause_s)
            loops += [
                refresh_offers(core, provider, pause_s),
                refresh_templates(core, provider),
                Sweeper(core, provider).run(SWEEP_S),
            ]
        for coroutine in loops:
            self.spawn(coroutine, life)
        self._note(f"boot {self._count}")
        return core

    def spawn(self, coroutine: Coroutine[Any, Any, Any], life: Life) -> asyncio.Task[Any]:
        """A task of that life; tasks that it makes belong to it too."""
        context = copy_context()
        context.run(_LIFE.set, life)
        return self.loop.create_task(_until_killed(coroutine), context=context)

    def kill(self) -> None:
        """kill -9: ports raise from now on, tasks are dropped where they stand."""
        life, self.life = self.life, None
        if life is None:
            return
        life.dead = True
        self.kills += 1
        for task in list(life.tasks):
            task.cancel()
        self._note("kill")

    def close(self) -> None:
        """End everything, the marketplaces' work too, and the loop."""
        self.kill()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(_ended(asyncio.all_tasks(self.loop)))
        self.loop.close()

    async def call(self, what: Callable[[Core, Principal], Coroutine[Any, Any, Any]]) -> Any:
        """A caller's request; a dead plane gives no answer (None), and the caller knows nothing."""
        life = self.life
        if life is None:
            return None
        return await self.spawn(what(life.core, CALLER), life)


def _owned(loop: asyncio.AbstractEventLoop, coroutine: Any, context: Context | None = None) -> asyncio.Task[Any]:
    """A task that belongs to the life whose context it runs in."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context)
    life = (context or copy_context()).get(_LIFE)
    if life is not None:
        life.own(task)
    return task


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


async def _until_killed(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """None when the process dies under it."""
    try:
        return await coroutine
    except Killed:
        return None
