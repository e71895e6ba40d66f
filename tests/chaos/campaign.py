"""One campaign: start everything, break it many times under load, let it come to rest, and judge what is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import psutil
import sqlalchemy as sa

from controlplane.adapters.store import tables
from controlplane.adapters.store.memory import MemoryDisk
from controlplane.adapters.store.statements import CODECS, Statements
from controlplane.domain.events import Event, EventKind
from controlplane.domain.ids import parse_label
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation
from controlplane.reconcile.sweep import GRACE_S
from tests.chaos.load import Load
from tests.e2e.local_plane import free_base_port
from tests.simulation.invariants import INVARIANTS
from tests.support.disk import read_disk
from tests.support.market import URL_VARIABLE, MarketMachine, MarketProcess, now
from tests.support.market_provider import PLUGIN
from tests.support.plane import Plane, eventually, new_plane, pb
from tests.support.postgres import PostgresServer

SWEEP_S = 2
REST_S = 60.0
KILLING_US = 200_000  # the most that it takes to kill several processes one after another
SWEPT_S = GRACE_S + 2 * SWEEP_S + 3.0
"""An orphan is destroyed on a sighting later than GRACE_S after its first: two sweeps and a little."""

SETTINGS: dict[str, object] = {
    "local": False, "plugins": PLUGIN, "sweep_interval": SWEEP_S, "meter_interval": 0.5, "hold_window": 1,
    "offers_interval": 1, "drain": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Order:
    """What to do."""

    database: str = "sqlite"
    processes: int = 1
    kills: int = 0
    stops: int = 0
    seed: int = 0
    per_second: float = 15.0
    pause_s: tuple[float, float] = (0.5, 2.0)  # between the recovery from one kill and the next
    stop_s: tuple[float, float] = (10.0, 14.0)
    slowest_s: float = 10.0  # the most that an operation may take after the first kill that it met


@dataclass
class Verdict:
    """What came of it."""

    order: Order
    blows: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    unfinished: int = 0
    affected: int = 0
    slowest_s: float = 0.0  # the slowest, counted from the first blow that fell into its life
    slowest: str = ""
    after_last_s: float = 0.0  # the same, counted from the last
    created: int = 0
    doubles: int = 0  # machines made while their instance had another
    left: int = 0  # machines that no live row claims, after the sweeps
    orphans: int = 0  # destroyed by the sweep
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        order = self.order
        blows = ", ".join(f"{count} {kind}" for kind, count in sorted(self.blows.items()))
        line = (
            f"{order.database} x{order.processes}: kills {order.kills}, stops {order.stops} ({blows}) | accepted "
            f"{self.accepted} | never finished {self.unfinished} | double machines made {self.doubles}, left "
            f"{self.left} | orphans destroyed {self.orphans} | affected {self.affected}, slowest after its first blow "
            f"{self.slowest_s:.1f} s ({self.slowest}), after its last {self.after_last_s:.1f} s | "
            f"machines {self.created} | {self.seconds:.0f} s | seed {order.seed}"
        )
        return "\n".join([line, *(f"  BROKEN: {sentence}" for sentence in self.broken)])


class Campaign:
    """A plane and all around it."""

    def __init__(self, order: Order, plane: Plane, market: MarketProcess, postgres: PostgresServer | None) -> None:
        self._order, self._plane, self._market, self._postgres = order, plane, market, postgres
        self._rng = random.Random(order.seed)
        self._port = free_base_port()
        self._blows: list[tuple[int, int]] = []  # when it began and ended
        self._workers: dict[int, psutil.Process] = {}
        self.verdict = Verdict(order)

    def run(self) -> Verdict:
        """Everything."""
        began = time.monotonic()
        order, verdict = self._order, self.verdict
        self._start()
        load = Load(f"127.0.0.1:{self._port}", self._plane.key, order.per_second, random.Random(order.seed + 1))
        load.start()
        try:
            kills = list(self._kills())
            stops = list(self._stops())
            for _ in range(order.kills):
                self._strike(self._rng.choice(kills), self._rng.uniform(*order.pause_s))
            for _ in range(order.stops):
                self._strike(self._rng.choice(stops), self._rng.uniform(*order.pause_s))
            time.sleep(0.5)
        finally:
            load.stop()
        verdict.accepted = len(load.accepted)
        verdict.broken += [f"a caller was refused: {text}" for text in load.refused]
        self._come_to_rest(load)
        load.close()
        self._plane.stop()
        self._gone(list(self._workers.values()))
        self._judge(load.accepted)
        verdict.seconds = time.monotonic() - began
        return verdict

    # Blows

    def _kills(self) -> Iterator[tuple[str, Callable[[], None]]]:
        yield from [("plane", self._kill_plane)] * 3
        yield "envoy", self._kill_envoy
        yield "plane+envoy", lambda: self._kill_plane(envoy=True)
        if self._order.processes > 1:
            yield from [("worker", self._kill_worker)] * 4
            yield "supervisor", self._kill_supervisor
        if self._postgres is not None:
            yield from [("postgres", self._kill_postgres)] * 2

    def _stops(self) -> Iterator[tuple[str, Callable[[], None]]]:
        yield "frozen plane", lambda: self._freeze([psutil.Process(self._plane.pid), *self._servers()])
        if self._order.processes > 1:
            yield from [("frozen worker", lambda: self._freeze([self._rng.choice(self._servers())]))] * 4

    def _strike(self, blow: tuple[str, Callable[[], None]], pause_s: float) -> None:
        kind, strike = blow
        time.sleep(pause_s)
        self._servers()
        began = now()
        strike()
        self._blows.append((began, now() if kind.startswith("frozen") else began + KILLING_US))
        self.verdict.blows[kind] += 1

    def _start(self) -> None:
        self._plane.start(port=self._port)

    def _servers(self) -> list[psutil.Process]:
        """The server processes of the present plane, if it has any of their own; all that ever were are noted."""
        found: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._plane.pid).children()
            found = [process for process in children if "controlplane.bootstrap.worker" in _argv(process)]
        self._workers |= {p.pid: p for p in found}
        return found

    def _kill_plane(self, *, envoy: bool = False) -> None:
        servers = self._servers()
        self._plane.kill9(envoy=envoy)
        for process in servers:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(self._rng.random() * 0.3)
        self._start()

    def _kill_supervisor(self) -> None:
        """Its server processes notice and end by themselves, while their successors start."""
        self._plane.kill9()
        time.sleep(self._rng.random() * 0.3)
        self._start()

    def _kill_worker(self) -> None:
        servers = self._servers()
        if servers:  # it may be on its way up after the last blow
            self._rng.choice(servers).kill()

    def _kill_envoy(self) -> None:
        for process in self._plane.envoys():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _kill_postgres(self) -> None:
        assert self._postgres is not None
        self._postgres.kill9()
        time.sleep(self._rng.random() * 0.5)
        for _ in range(50):
            try:
                self._postgres.start()
                return
            except AssertionError:  # its last children still hold the shared memory
                time.sleep(0.1)
        self._postgres.start()

    def _freeze(self, processes: list[psutil.Process]) -> None:
        for process in processes:
            process.suspend()
        try:
            time.sleep(self._rng.uniform(*self._order.stop_s))
        finally:
            for process in processes:
                process.resume()

    # Afterwards

    def _come_to_rest(self, load: Load) -> None:
        """Every operation ends; the marketplace has what the rows say; then everything is ended."""
        self._await(load, load.accepted)
        live = self._live(load)
        agreed = _tried(lambda: eventually(lambda: self._alive_ids() == live, SWEPT_S, every_s=0.2))
        if not agreed:
            extra, missing = Counter(self._alive_ids()) - Counter(live), Counter(live) - Counter(self._alive_ids())
            self.verdict.left = extra.total()
            if extra:
                self.verdict.broken.append(f"machines that no live row claims: {extra}")
            if missing:
                self.verdict.broken.append(f"live rows without a machine: {missing}")
        known = len(load.accepted)
        for id in live:
            load.terminate(id)
        self._await(load, load.accepted[known:])
        _tried(lambda: eventually(lambda: not self._alive_ids(), SWEPT_S, every_s=0.2))

    def _await(self, load: Load, ids: list[str]) -> None:
        deadline = time.monotonic() + REST_S
        good = (pb.OPERATION_STATE_SUCCEEDED, pb.OPERATION_STATE_CANCELLED)
        for id in ids:
            patience = max(0, int(deadline - time.monotonic()))
            request = pb.WaitOperationRequest(id=id, timeout={"seconds": patience})
            done = load.insist(lambda: load.me.operations.WaitOperation(request, timeout=patience + 5))  # noqa: B023
            if not done.done_time.ByteSize():
                self.verdict.unfinished += 1
                self.verdict.broken.append(f"operation {id} is not finished {REST_S:g} s after the last call")
            elif done.state not in good:
                self.verdict.broken.append(f"operation {id} ended as {done.state}: {done.error.message}")

    def _live(self, load: Load) -> list[str]:
        request = pb.ListInstancesRequest(page_size=1000)
        rows = load.insist(lambda: load.me.instances.ListInstances(request)).instances
        return sorted(row.id for row in rows if row.state == pb.INSTANCE_STATE_RUNNING)

    def _alive_ids(self) -> list[str]:
        return sorted(_instance_of(m) for m in self._market.machines().values() if m.gone_at is None)

    def _gone(self, processes: list[psutil.Process]) -> None:
        _, alive = psutil.wait_procs(processes, timeout=10)
        self.verdict.broken += [f"a server process outlived its plane: {p.pid}" for p in alive]

    def _judge(self, accepted: list[str]) -> None:
        verdict = self.verdict
        if self._postgres is not None:
            disk = asyncio.run(read_postgres(self._postgres.url("plane")))
        else:
            disk = read_disk(self._plane.state / "gpuplane.db")
        operations = disk.table(Operation)
        if extra := set(operations) - set(accepted):
            verdict.broken.append(f"operations that nobody was given: {sorted(extra)}")
        self._judge_times(operations)
        machines = self._market.machines()
        verdict.created = len(machines)
        doubles = _doubles(machines)
        verdict.doubles = len(doubles)
        if doubles and not self._order.stops:
            verdict.broken += [f"{label} was made while its instance had another machine" for label in doubles]
        kept = {row.machine_id for row in disk.table(Instance).values()}
        verdict.orphans = self._plane.log.count("sweep.destroying_orphan")
        market: Any = SimpleNamespace(
            name="market", launches=[m.label for m in machines.values()], doubles=doubles,
            froze=self._order.stops > 0, machines=machines, alive=[m for m in machines.values() if m.gone_at is None],
        )  # fmt: skip
        for check in INVARIANTS:
            verdict.broken += [f"{check.__name__}: {sentence}" for sentence in check(disk, [market], accepted)]
        verdict.broken += [f"row of {id} knows no such machine" for id in kept - set(machines) - {""}]

    def _judge_times(self, operations: dict[str, Operation]) -> None:
        """How long operations took whose life a blow fell into."""
        verdict = self.verdict
        for operation in operations.values():
            done_at = operation.done_at or now()
            hits = [
                (began, ended) for began, ended in self._blows if began <= done_at and ended >= operation.created_at
            ]
            if not hits:
                continue
            verdict.affected += 1
            took = (done_at - max(operation.created_at, hits[0][0])) / 1e6
            verdict.after_last_s = max(verdict.after_last_s, (done_at - hits[-1][1]) / 1e6)
            if took > verdict.slowest_s:
                verdict.slowest_s = took
                verdict.slowest = f"{operation.id} {operation.kind}, {len(hits)} blows"
        limit = self._order.slowest_s
        if verdict.slowest_s > limit and not self._order.stops:
            verdict.broken.append(f"an operation took {verdict.slowest_s:.1f} s after its first kill, not {limit:g} s")


def _doubles(machines: dict[str, MarketMachine]) -> list[str]:
    found: list[str] = []
    last: dict[str, int] = {}  # until when the instance has a machine
    for machine in sorted(machines.values(), key=lambda m: m.made_at):
        instance = _instance_of(machine)
        if last.get(instance, 0) > machine.made_at:
            found.append(machine.label)
        last[instance] = max(last.get(instance, 0), machine.gone_at or 1 << 62)
    return found


def _instance_of(machine: MarketMachine) -> str:
    parsed = parse_label(machine.label)
    return parsed[1] if parsed else machine.label


def _argv(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _tried(check: Callable[[], object]) -> bool:
    try:
        check()
    except AssertionError:
        return False
    return True


async def read_postgres(url: str) -> MemoryDisk:
    """All rows and events of a PostgreSQL database, as tests.support.disk does for SQLite."""
    disk, sql = MemoryDisk(), Statements("postgresql")
    database = await asyncpg.connect(url)
    try:
        for record in tables.BY_RECORD:
            for values in await database.fetch(sql.render(sa.select(*sql.columns(record))).sql):
                row = CODECS[record].decode(tuple(values))
                disk.table(record)[row.id] = row
        for r in await database.fetch(sql.render(sa.select(tables.events).order_by(tables.events.c.seq)).sql):
            disk.events.append(Event(r[0], r[1], EventKind(r[2]), *tuple(r)[3:8], bool(r[8])))
    finally:
        await database.close()
    return disk


def run(order: Order, log: Path | None = None) -> Verdict:
    """Run one campaign on processes of its own; nothing is left of them. The plane's log goes to `log`."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="gpc-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        market = stack.enter_context(MarketProcess(folder))
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        for name, value in ((URL_VARIABLE, market.url), ("PYTHONPATH", path)):
            stack.callback(_restore, name, os.environ.get(name))
            os.environ[name] = value
        settings = dict(SETTINGS)
        postgres = None
        if order.database == "postgresql":
            postgres = stack.enter_context(PostgresServer())
            settings |= {"database": postgres.create("plane"), "processes": order.processes}
        plane = new_plane(**settings)
        stack.callback(plane.close)
        campaign = Campaign(order, plane, market, postgres)
        try:
            return campaign.run()
        finally:
            _end_orphans(campaign)
            if log is not None:
                log.write_text(plane.log)


def _end_orphans(campaign: Campaign) -> None:
    """After a failure half-way: no frozen or orphaned server process stays."""
    for process in [*campaign._servers(), *campaign._workers.values()]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)
            if campaign._plane.running or process.is_running():
                process.kill()


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
