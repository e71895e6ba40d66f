"""Durable operations: accepted by the use-case, worked by the real loop on a real store, above a 50 ms provider.

    python -m bench.operations --rounds 3    # both stores
    python -m bench.operations run URL       # one round in this process; JSON

An operation is create -> attempt recorded -> launch (50 ms) -> machine recorded -> probe -> RUNNING committed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import statistics
import subprocess
import sys
import time
from typing import Any

from bench import planes, report
from bench.processes import ROOT, WORK, python
from controlplane.adapters.bus.memory import MemoryBus
from controlplane.adapters.secrets import MasterKeySecrets
from controlplane.adapters.ssh_keys import AsyncsshKeyParser
from controlplane.adapters.system import SystemClock, SystemIds
from controlplane.domain.account import Account
from controlplane.domain.instance import Instance
from controlplane.domain.principal import ALL, SCOPES, Principal
from controlplane.domain.state import State
from controlplane.ports.bus import Topic
from controlplane.ports.probe import ProbeResult
from controlplane.ports.provider import (
    Capabilities,
    Created,
    LaunchOutcome,
    LaunchSpec,
    Machine,
    MachineStatus,
    SshEndpoint,
)
from controlplane.ports.store import Get, Store, Transaction, UnitOfWork
from controlplane.reconcile.loop import InstanceLoop
from controlplane.usecases import instances
from controlplane.usecases.core import Core, Policy
from controlplane.usecases.hub import EventHub
from controlplane.usecases.idempotency import RequestKey
from controlplane.usecases.keys import KeyAuthenticator
from controlplane.usecases.offerbook import OfferBook
from controlplane.usecases.tokens import Tokens
from controlplane.usecases.wishes import CreateInstance
from controlplane.wire import event as stream_messages

LAUNCH_S = 0.05
IN_FLIGHT = 128
OPERATIONS = 2000
LIGHT_RATE, LIGHT_OPERATIONS = 10.0, 100
CALLER = Principal("acct_bench", "key_bench", frozenset(SCOPES))


class Quick(planes.Shelf):
    """A provider that needs 50 ms for a machine, and has it running at once."""

    capabilities = Capabilities(concurrency=10_000)

    async def launch(self, spec: LaunchSpec) -> LaunchOutcome:
        await asyncio.sleep(LAUNCH_S)
        return Created(spec.label)

    async def describe(self, machine_id: str) -> Machine:
        return Machine(machine_id, machine_id, MachineStatus.RUNNING, SshEndpoint("203.0.113.7", 22, "root"))


class Believer:
    """A prober that finds every machine ready."""

    def public_key(self, private_seed: bytes) -> str:
        return "ssh-ed25519 AAAA"

    async def probe(self, endpoint: SshEndpoint, private_seed: bytes, deadline_s: float) -> ProbeResult:
        return ProbeResult(True, "ssh-ed25519 AAAA")

    async def model_health(self, url: str, api_key: str, deadline_s: float) -> ProbeResult:
        return ProbeResult(True)


class Engine:
    """The core on one store, and who waits for which instance."""

    def __init__(self, store: Store, bus: MemoryBus) -> None:
        self._running: dict[str, asyncio.Future[float]] = {}
        self._commit = store.run
        vars(store)["run"] = self._run
        clock, secrets, provider = SystemClock(), MasterKeySecrets(bytes(32)), Quick()
        prober: Any = Believer()
        providers: Any = {provider.name: provider}
        self.core = Core(
            store=store, clock=clock, ids=SystemIds(), bus=bus, secrets=secrets, ssh_keys=AsyncsshKeyParser(),
            prober=prober, providers=providers, offers=OfferBook(), policy=Policy(), deployment_id="bench",
        )  # fmt: skip
        self.core.offers.update(provider.name, (planes.OFFER,), clock.now())
        authenticator = KeyAuthenticator(store, clock, "")
        self.hub = EventHub(store, bus, Tokens(secrets, "bench"), stream_messages, authenticator)
        self.loop = InstanceLoop(self.core, "bench")

    async def _run(self, unit: UnitOfWork[Any]) -> Any:
        """The store's own, and a look at what it returned: the moment at which RUNNING is durable."""
        result = await self._commit(unit)
        if isinstance(result, Instance) and result.state is State.RUNNING:
            waiting = self._running.pop(result.id, None)
            if waiting is not None:
                waiting.set_result(time.perf_counter())
        return result

    async def operation(self) -> tuple[float, float]:
        """One operation; seconds to its acceptance, and to its end."""
        began = time.perf_counter()
        wish = CreateInstance(offer_id=planes.OFFER.id)
        made = await instances.create(self.core, CALLER, wish, RequestKey("create_instance"))
        accepted = time.perf_counter()
        ended = self._running[made.instance_id] = asyncio.get_running_loop().create_future()
        return accepted - began, await ended - began


async def _open(url: str) -> tuple[Store, MemoryBus]:
    bus = MemoryBus()

    def committed(units: int, seconds: float) -> None:
        bus.notify(Topic.EVENTS)

    def woken() -> None:
        bus.notify(Topic.EVENTS)
        bus.notify(Topic.WORK)

    return await planes.open_store(url, committed, woken), bus


async def run(url: str) -> dict[str, float]:
    """One round: light load first, then 128 in flight."""
    store, bus = await _open(url)

    def account(tx: Transaction) -> None:
        tx.put(Account(CALLER.account_id, "bench", "USD", 1_000_000, tx.now))

    await store.run(UnitOfWork(ALL, [Get(Account, CALLER.account_id)], account))
    engine = Engine(store, bus)
    await engine.hub.start()
    tasks = [asyncio.create_task(engine.loop.run()), asyncio.create_task(engine.hub.run())]
    light = []
    for _ in range(LIGHT_OPERATIONS):
        light.append(asyncio.create_task(engine.operation()))
        await asyncio.sleep(random.expovariate(LIGHT_RATE))
    times = await asyncio.gather(*light)
    left = iter(range(OPERATIONS))

    async def worker() -> None:
        for _ in left:
            await engine.operation()

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    seconds, spent = time.perf_counter() - began, time.process_time() - cpu
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await store.close()
    overheads = sorted((end - LAUNCH_S) * 1000 for _, end in times)
    return {
        "ops_per_s": round(OPERATIONS / seconds),
        "cpu_ms": round(spent / OPERATIONS * 1000, 3),
        "accept_p50": round(statistics.median(accepted for accepted, _ in times) * 1000, 2),
        "overhead_p50": round(statistics.median(overheads), 2),
        "overhead_p99": round(overheads[int(len(overheads) * 0.99) - 1], 2),
    }


def measure(rounds: int) -> list[dict[str, Any]]:
    """Rounds in processes of their own, the stores in turn, each on an empty database; medians."""
    folder = WORK / "operations"
    taken: dict[str, list[dict[str, float]]] = {"SQLite": [], "PostgreSQL": []}
    with planes.postgres() as server:
        for number in range(rounds):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            urls = {
                "SQLite": f"sqlite:///{folder / 'bench.db'}",
                "PostgreSQL": asyncio.run(planes.new_database(server, f"bench_operations_{number}")),
            }
            for name, url in urls.items():
                said = subprocess.check_output(python("bench.operations", "run", url), cwd=ROOT)
                taken[name].append(json.loads(said))
            print(f"operations: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return [
        {"store": name} | {key: statistics.median(one[key] for one in measured) for key in measured[0]}
        for name, measured in taken.items()
    ]


def main() -> None:
    """One round, or the table."""
    if sys.argv[1:2] == ["run"]:
        print(json.dumps(asyncio.run(run(sys.argv[2]))))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    print(report.operations_table(measure(parser.parse_args().rounds)))


if __name__ == "__main__":
    main()
