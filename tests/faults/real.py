"""The real form: simulators, plane and callers in processes of their own, over real HTTP and real SSH; kill -9."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from controlplane.adapters.store.memory import MemoryDisk
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation
from tests.chaos.campaign import read_postgres
from tests.e2e.local_plane import free_base_port, free_port
from tests.faults.checks import PLANTED, STRANGER, Evidence, broken
from tests.faults.markets import PROVIDERS, faults, quiet, strikes
from tests.faults.rentals import Rentals
from tests.support.disk import read_disk
from tests.support.plane import Plane, eventually, new_plane, pb
from tests.support.postgres import PostgresServer

SWEEP_S = 5.0
REST_S = 300.0
LEAST_USED = 1 / 3  # of the callers: where fewer get a machine to use, little of its life was tried
SHARES = {"vastai": 0.1, "tensordock": 0.7, "ionet": 0.2}
"""Vast.ai lets nobody search, and so buy, more often than ten
times a minute, and a plane that is killed all the time asks io.net for its stock all the time."""
SETTINGS: dict[str, object] = {
    "local": False, "sweep_interval": SWEEP_S, "meter_interval": 5, "hold_window": 10, "offers_interval": 15,
    "drain": 1,
}  # fmt: skip
QUICK = {
    "boot_s": [0.5, 3], "ports_after_s": 0.5, "ssh_after_s": 0.5, "keys_after_s": 1.0, "listing_delay_s": 1.0,
    "get_delay_s": 1.0, "ended_listed_s": 2.0, "late_create_s": 5.0, "hang_s": 15.0, "clock_skew_s": 0.0,
    "latency_s": {"*": [0.0, 0.05]}, "preempt_after_s": [3, 15], "host_lost_after_s": [3, 15],
    "host_lost_for_s": [2, 10], "stuck": 0.02,
}  # fmt: skip
"""What real time asks for: machines that come up within seconds, as the simulators' own do."""


@dataclass(frozen=True)
class Order:
    """What to do."""

    callers: int = 450
    least: int = 0  # machines that have to be rented in all
    over_s: float = 400.0  # in which callers come
    kill_every_s: tuple[float, float] = (5.0, 20.0)
    most_kills: int | None = None
    ready_s: float = 100.0  # how long callers wait for a machine
    seed: int = 0
    database: str = "sqlite"
    processes: int = 1


@dataclass
class Verdict:
    """What came of it."""

    order: Order
    kills: int = 0
    accepted: int = 0
    rentals: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict, repr=False)  # all that was judged, for whoever looks into it

    def __str__(self) -> str:
        rentals = ", ".join(f"{count} {name}" for name, count in sorted(self.rentals.items()))
        line = (
            f"real, {self.order.database} x{self.order.processes}: {self.rentals.total()} machines rented ({rentals}) "
            f"| {self.accepted} operations | {self.kills} kills | creates ended {dict(self.ended)} "
            f"| faults {dict(sorted(self.struck.items()))} | {self.seconds:.0f} s | seed {self.order.seed}"
        )
        return "\n".join([line, *(f"  BROKEN: {sentence}" for sentence in self.broken)])


class Simulator:
    """`gpuplane simulate`, with fake machines, in a process of its own."""

    def __init__(self, provider: str, folder: Path, seed: int, switches: dict[str, Any]) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        file = folder / f"{provider}.json"
        file.write_text(json.dumps(switches))
        argv = [sys.executable, "-m", "controlplane", "simulate", provider, "--port", str(port), "--seed", str(seed)]
        with (folder / f"{provider}.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*argv, "--faults", str(file), "--machines", "fake", "--offers", "240"], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, process_group=0,
            )  # fmt: skip
        eventually(self._answers, 20.0, what=lambda: (folder / f"{provider}.log").read_text())

    def ask(self, action: str, values: dict[str, Any] | None = None) -> Any:
        """A call of its control surface."""
        data = None if values is None else json.dumps(values).encode()
        with urllib.request.urlopen(f"{self.url}/_sim/{action}", data, timeout=30) as answer:
            return json.load(answer)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            self.ask("config")
            return True
        assert self._process.poll() is None, "the simulator ended"
        return False

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class Campaign:
    """Three simulators, one plane and its callers."""

    def __init__(
        self, order: Order, plane: Plane, simulators: dict[str, Simulator], postgres: PostgresServer | None
    ) -> None:
        self._order, self._plane, self._simulators, self._postgres = order, plane, simulators, postgres
        self._rng = random.Random(order.seed)
        self._port = free_base_port()
        self.verdict = Verdict(order)

    def run(self) -> Verdict:
        """Everything."""
        began = time.monotonic()
        order, verdict = self._order, self.verdict
        self._plane.start(port=self._port)
        for name, simulator in self._simulators.items():
            simulator.ask("orphan", {"label": f"{STRANGER}{name}"})
        rentals = Rentals(
            f"127.0.0.1:{self._port}", self._plane.key, _shared(order.callers), order.over_s, order.ready_s, self._rng
        )
        callers = threading.Thread(target=rentals.run)
        callers.start()
        self._kill_while(rentals)
        callers.join()
        for simulator in self._simulators.values():
            simulator.ask("config", quiet(simulator.ask("config")))
        verdict.broken += [f"a caller was refused: {text}" for text in rentals.refused]
        self._come_to_rest(rentals)
        rentals.close()
        self._plane.stop()
        self._judge(rentals)
        verdict.seconds = time.monotonic() - began
        return verdict

    def _kill_while(self, rentals: Rentals) -> None:
        most = self._order.most_kills
        while rentals.running and (most is None or self.verdict.kills < most):
            time.sleep(self._rng.uniform(*self._order.kill_every_s))
            children = psutil.Process(self._plane.pid).children()
            self._plane.kill9()
            for process in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "controlplane.bootstrap.worker" in " ".join(process.cmdline()):
                        process.kill()
            self.verdict.kills += 1
            self._plane.start(port=self._port)

    def _come_to_rest(self, rentals: Rentals) -> None:
        """Every instance ended and every bill known, and then two sweeps past the longest grace."""
        request = pb.ListInstancesRequest(page_size=1000)
        with contextlib.suppress(AssertionError):
            eventually(lambda: not [
                row for row in rentals.client.instances.ListInstances(request).instances if row.state not in _ENDED
            ], REST_S, every_s=1.0)  # fmt: skip
        with contextlib.suppress(AssertionError):
            eventually(lambda: all(row.settled for row in self._disk().table(Instance).values()), REST_S, every_s=5.0)
        with contextlib.suppress(AssertionError):
            eventually(self._nothing_alive, REST_S, every_s=1.0)

    def _nothing_alive(self) -> bool:
        """Whether all machines but strangers' are gone."""
        ledgers = [simulator.ask("ledger") for simulator in self._simulators.values()]
        return not [
            m
            for told in ledgers
            for m in told["machines"]
            if m["ended_at"] is None and not m["label"].startswith(STRANGER)
        ]

    def _disk(self) -> MemoryDisk:
        if self._postgres is not None:
            return asyncio.run(read_postgres(self._postgres.url("plane")))
        return read_disk(self._plane.state / "gpuplane.db")

    def _judge(self, rentals: Rentals) -> None:
        verdict = self.verdict
        disk = self._disk()
        deployment = next(iter(disk.table(Instance).values())).label.split("-")[1] if disk.table(Instance) else ""
        ledgers = {name: simulator.ask("ledger") for name, simulator in self._simulators.items()}
        journals = {name: simulator.ask("journal")["calls"] for name, simulator in self._simulators.items()}
        seen = Evidence(disk, rentals.accepted, deployment, ledgers, journals)
        verdict.broken += broken(seen)
        verdict.evidence = {
            "ledgers": ledgers,
            "journals": journals,
            "rows": list(map(str, disk.table(Instance).values())),
            "operations": list(map(str, disk.table(Operation).values())),
        }
        known = set(rentals.accepted)
        verdict.broken += [f"operation {id} was given to nobody" for id in disk.table(Operation) if id not in known]
        verdict.rentals.update(machine.provider for machine in seen.machines if machine.attempt < PLANTED)
        if verdict.rentals.total() < self._order.least:
            verdict.broken.append(f"only {verdict.rentals.total()} machines were rented")
        for name, calls in journals.items():
            verdict.struck += strikes(name, calls)
        verdict.ended, verdict.accepted = rentals.ended, len(rentals.accepted)
        if self._order.least and verdict.ended["SUCCEEDED"] < self._order.callers * LEAST_USED:
            verdict.broken.append(f"only {verdict.ended['SUCCEEDED']} of {self._order.callers} callers got a machine")


_ENDED = (pb.INSTANCE_STATE_TERMINATED, pb.INSTANCE_STATE_FAILED)


def _shared(callers: int) -> dict[str, int]:
    return {name: max(1, round(callers * share)) for name, share in SHARES.items()}


@contextlib.contextmanager
def _simulators(folder: Path, seed: int) -> Iterator[dict[str, Simulator]]:
    with contextlib.ExitStack() as stack:
        made = {}
        for name in PROVIDERS:
            switches = faults(name, random.Random(f"{seed}/{name}")) | QUICK
            switches.pop("search_quota", None)
            made[name] = Simulator(name, folder, seed, switches)
            stack.callback(made[name].close)
        yield made


def run(order: Order, log: Path | None = None) -> Verdict:
    """One campaign on processes of its own; nothing is left of them. The plane's log goes to `log`, and beside it what
    was judged."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gpf-")))
        simulators = stack.enter_context(_simulators(folder, order.seed))
        settings = SETTINGS | {
            "vastai_api_key": "vast-key", "vastai_url": simulators["vastai"].url,
            "tensordock_api_token": "dock-token", "tensordock_url": f"{simulators['tensordock'].url}/api/v2",
            "ionet_api_key": "io-key", "ionet_url": simulators["ionet"].url,
        }  # fmt: skip
        postgres = None
        if order.database == "postgresql":
            postgres = stack.enter_context(PostgresServer())
            settings |= {"database": postgres.create("plane"), "processes": order.processes}
        plane = new_plane(**settings)
        stack.callback(plane.close)
        try:
            verdict = Campaign(order, plane, simulators, postgres).run()
            if log is not None:
                log.with_suffix(".evidence.json").write_text(json.dumps(verdict.evidence))
            return verdict
        finally:
            if log is not None:
                log.write_text(plane.log)
