"""A database after a year: 12,500 live instances, 220,000 ended, 290,000 events. Nothing may hold up the event loop."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import psutil
import pytest
from gpuplane.v1 import watch_pb2

from controlplane.adapters.bus.memory import MemoryBus
from controlplane.adapters.secrets import MasterKeySecrets
from controlplane.adapters.ssh_keys import AsyncsshKeyParser
from controlplane.adapters.store.sqlite import SqliteStore
from controlplane.adapters.system import SystemClock, SystemIds
from controlplane.domain.instance import Instance
from controlplane.domain.ledger import LedgerKind
from controlplane.domain.principal import ALL, SCOPES, Principal, Scope
from controlplane.domain.state import State
from controlplane.domain.work import WorkItem
from controlplane.ports.bus import Topic
from controlplane.ports.provider import Capabilities, Listing, Machine, MachineStatus
from controlplane.ports.store import Due, Get, InstanceQuery, Transaction, UnitOfWork, UsageQuery
from controlplane.reconcile.sweep import Sweeper
from controlplane.usecases import watch
from controlplane.usecases.core import Core, Policy
from controlplane.usecases.hub import EventHub
from controlplane.usecases.keys import KeyAuthenticator
from controlplane.usecases.offerbook import OfferBook
from controlplane.usecases.tokens import Tokens
from controlplane.wire import event as stream_messages
from tests.scale.filled import DAY, DEPLOYMENT, PROVIDERS, Filled, Size, fill
from tests.scale.measure import measured
from tests.support.fakes import SECOND
from tests.support.plane import Plane, new_plane, pb

pytestmark = pytest.mark.xdist_group("data-scale")
NOW = int(time.time() * SECOND)


@dataclass(slots=True)
class Year:
    """A stopped plane and its full database."""

    plane: Plane
    filled: Filled
    empty_start_s: float
    empty_idle: float


@pytest.fixture(
    scope="module",
    params=[pytest.param(20, id="a-twentieth"), pytest.param(1, id="the-whole", marks=pytest.mark.scale)],
)
def year(request: pytest.FixtureRequest) -> Iterator[Year]:
    plane = new_plane(local=False, retention=400 * 86400)
    try:
        start_s = _start(plane)
        idle = _idle(plane, 2.0)
        plane.stop()
        began = time.perf_counter()
        filled = fill(plane.state / "gpuplane.db", Size().part(request.param), NOW, plane.account_id)
        print(f"\n{filled.size}: written in {time.perf_counter() - began:.1f} s")
        yield Year(plane, filled, start_s, idle)
    finally:
        plane.close()


@pytest.fixture
async def store(year: Year) -> AsyncIterator[SqliteStore]:
    assert not year.plane.running
    made = SqliteStore(year.filled.path, SystemClock(), SystemIds())
    yield made
    await made.close()


def _start(plane: Plane) -> float:
    """Seconds from the process's start to its word that it is ready."""
    began = time.perf_counter()
    plane.start()
    return time.perf_counter() - began


def _idle(plane: Plane, seconds: float) -> float:
    """The share of a core that the server takes with nothing to do. Envoy is not counted."""
    server = psutil.Process(plane.pid)
    time.sleep(1.0)
    before = server.cpu_times()
    time.sleep(seconds)
    after = server.cpu_times()
    return (after.user + after.system - before.user - before.system) / seconds


def test_a_plane_over_it(year: Year) -> None:
    """First, because it uses the database alone."""
    plane = year.plane
    start_s = _start(plane)
    try:
        print(f"start to ready: {start_s:.2f} s, with a new database {year.empty_start_s:.2f} s")
        assert start_s < year.empty_start_s + 3
        idle = _idle(plane, 3.0 if len(year.filled.live) < 10_000 else 15.0)
        print(f"idle: {idle:.1%} of a core, empty {year.empty_idle:.1%}; {len(year.filled.live)} live instances")
        assert idle < 0.25
        me = plane.me
        began = time.perf_counter()
        page = me.instances.ListInstances(pb.ListInstancesRequest(page_size=50))
        print(f"ListInstances(50): {(time.perf_counter() - began) * 1000:.1f} ms")
        assert [row.id for row in page.instances] == _own(year.filled)[:50]
        rare = me.instances.ListInstances(pb.ListInstancesRequest(label_selector="rare"))
        owned = _rows(year.filled, "SELECT account_id FROM instances WHERE id = ?", year.filled.rare)[0][0]
        assert [row.id for row in rare.instances] == ([year.filled.rare] if owned == plane.account_id else [])
        began = time.perf_counter()
        start = {"seconds": (NOW - 366 * DAY) // SECOND}
        request = pb.QueryUsageRequest(start_time=start, bucket=pb.USAGE_BUCKET_SIZE_MONTH, page_size=100)
        buckets = me.usage.QueryUsage(request).buckets
        print(f"QueryUsage, a year by month: {(time.perf_counter() - began) * 1000:.0f} ms")
        began = time.perf_counter()
        summary = me.usage.GetCostSummary(pb.GetCostSummaryRequest(start_time=start))
        print(f"GetCostSummary, a year: {(time.perf_counter() - began) * 1000:.0f} ms")
        charged, count = _charged(year.filled)
        assert summary.instance_count == count
        assert summary.total.units * 10**9 + summary.total.nanos == charged
        assert sum(b.cost.units * 10**9 + b.cost.nanos for b in buckets) == charged
    finally:
        plane.stop()


def _rows(filled: Filled, sql: str, *values: Any) -> list[Any]:
    database = sqlite3.connect(filled.path)
    try:
        return database.execute(sql, values).fetchall()
    finally:
        database.close()


def _own(filled: Filled, where: str = "1") -> list[str]:
    """Ids of the first account's instances, newest first."""
    sql = f"SELECT id FROM instances WHERE account_id = ? AND {where} ORDER BY id DESC"
    return [row[0] for row in _rows(filled, sql, filled.accounts[0])]


def _charged(filled: Filled) -> tuple[int, int]:
    sql = "SELECT sum(amount_nano), count(DISTINCT instance_id) FROM ledger WHERE account_id = ? AND kind = 'CHARGE'"
    found = _rows(filled, sql, filled.accounts[0])[0]
    return int(found[0]), int(found[1])


LISTS = {
    "unfiltered": (InstanceQuery(), "1"),
    "live only": (InstanceQuery(live_only=True), "end_at IS NULL"),
    "a common state": (InstanceQuery(states=frozenset({State.RUNNING})), "state = 'RUNNING'"),
    "a rare state": (InstanceQuery(states=frozenset({State.FAILED})), "state = 'FAILED'"),
    "a provider": (InstanceQuery(provider="beta"), "provider = 'beta'"),
    "a provider that there is not": (InstanceQuery(provider="omega"), "0"),
    "a label of many": (InstanceQuery(labels=(("team", "team-7"),)), "labels ->> '$.team' = 'team-7'"),
    "a label of one": (InstanceQuery(labels=(("run", "11"),)), "labels ->> '$.run' = '11'"),
    "a label of none": (InstanceQuery(labels=(("none", None),)), "0"),
}


@pytest.mark.parametrize("name", LISTS)
async def test_lists(year: Year, store: SqliteStore, name: str) -> None:
    query, where = LISTS[name]
    scope, expected = Scope(year.filled.accounts[0]), _own(year.filled, where)
    async with measured(f"List(50), {name}, cold"):
        first = await store.messages(scope, query, "", 50)
    async with measured(f"List(50), {name}"):
        first = await store.messages(scope, query, "", 50)
    assert [id for id, _ in first] == expected[:50]
    if len(expected) > 100:
        middle = len(expected) // 2
        async with measured(f"List(50), {name}, from the middle"):
            page = await store.messages(scope, query, expected[middle], 50)
        assert [id for id, _ in page] == expected[middle + 1 : middle + 51]


async def test_searches_do_not_hold_up_reads(year: Year, store: SqliteStore) -> None:
    """Lists that search everything, many at once, beside reads of single rows."""
    scope, nothing = Scope(year.filled.accounts[0]), InstanceQuery(labels=(("none", None),))
    async with measured("8 searches of all rows and 200 reads"):
        searches = asyncio.gather(*(store.messages(scope, nothing, "", 50) for _ in range(8)))
        for id in year.filled.live[:200]:
            assert await store.get(ALL, Instance, id) is not None
            await asyncio.sleep(0)
        assert await searches == [[]] * 8


@pytest.mark.parametrize(
    ("bucket", "group"), [("day", ""), ("month", "provider"), ("", "gpu_type"), ("week", "instance_id")]
)
async def test_usage_of_a_year(year: Year, store: SqliteStore, bucket: str, group: str) -> None:
    query = UsageQuery(LedgerKind.CHARGE, NOW - 366 * DAY, NOW, bucket, group)
    async with measured(f"usage of a year by {bucket or 'nothing'}, {group or 'nothing'}"):
        rows = await store.usage(Scope(year.filled.accounts[0]), query)
    assert sum(row.amount_nano for row in rows) == _charged(year.filled)[0]
    assert bucket != "day" or len(rows) == len({row.bucket_at for row in rows})


async def test_gauges_and_log_ends(year: Year, store: SqliteStore) -> None:
    async with measured("gauges: live instances by provider and state"):
        counts = await store.live_counts()
    assert {row.provider for row in counts} == set(PROVIDERS)
    assert sum(row.count for row in counts) == len(year.filled.live)
    async with measured("the log's window"):
        await store.window()


def test_plans_use_indexes(year: Year, store: SqliteStore) -> None:
    sql = store._sql
    for statement, index in (
        (sql.page(Instance, InstanceQuery(), scoped=True, first=True), "instances_account (account_id=?)"),
        (sql.page(Instance, InstanceQuery(), scoped=True, first=False), "instances_account (account_id=? AND id<?)"),
        (sql.page(Instance, InstanceQuery(live_only=True), scoped=True, first=True), "instances_live (account_id=?)"),
        (sql.due, "work_due (due_at<?)"),
        (sql.next_due, "work_due (due_at<?)"),
        (sql.events_after, "(seq>?)"),
        (sql.count_live, "instances_live (account_id=?)"),
    ):
        rows = _rows(year.filled, f"EXPLAIN QUERY PLAN {statement.sql}", *("1" for _ in statement.names))
        plan = [row[3] for row in rows]
        assert any(step.endswith(index) for step in plan), plan
        assert not any(step.startswith("SCAN") and "USING" not in step and "VIRTUAL" not in step for step in plan), plan


async def test_claims(year: Year, store: SqliteStore) -> None:
    """Claiming costs what is claimed, not what waits."""
    filled = year.filled

    def make_due(tx: Transaction) -> None:
        for id in filled.live[:1000]:
            item = tx.get(WorkItem, id)
            assert item is not None
            tx.put(replace(item, due_at=tx.now))

    await store.run(UnitOfWork(ALL, [Get(WorkItem, id) for id in filled.live[:1000]], make_due))
    async with measured("when is the next item due"):
        due_in = await store.due_in("host")
    assert due_in is not None
    assert due_in <= 0

    def claim(tx: Transaction) -> int:
        items = tx.due()
        for item in items:
            tx.put(item.claimed("me", tx.now, 3600 * SECOND))
        return len(items)

    claimed = 0
    async with measured("claiming what is due, 128 at a time") as all_claims:
        while found := await store.run(UnitOfWork(ALL, [Due(128, "host", (("alpha", 1000),))], claim)):
            claimed += found
    assert claimed == min(1000, len(filled.live))
    print(f"{'':<44}{all_claims.ms * 128 / claimed:10.2f} ms a claim of 128")
    poked = filled.live[3]

    def poke(tx: Transaction) -> None:
        tx.put(tx.get(WorkItem, poked).poked(tx.now))  # type: ignore[union-attr]

    await store.run(UnitOfWork(ALL, [Get(WorkItem, poked)], poke))
    due_in = await store.due_in("host")
    assert due_in is not None
    assert due_in == pytest.approx(3600, abs=60), "held items are due when their lease ends, poked or not"


def _hub(store: SqliteStore, bus: MemoryBus) -> EventHub:
    tokens = Tokens(MasterKeySecrets(bytes(32)), "epoch")
    return EventHub(store, bus, tokens, stream_messages, KeyAuthenticator(store, SystemClock(), ""))


async def test_a_watch_from_an_old_token(year: Year, store: SqliteStore) -> None:
    """A stream that resumes from the log's beginning gets the newest of every instance, and holds up nobody."""
    account = year.filled.accounts[0]
    newest = dict(
        _rows(year.filled, "SELECT subject_id, id FROM (SELECT * FROM events ORDER BY seq) WHERE account_id = ?"
              " AND kind = 'INSTANCE'", account)
    )  # fmt: skip
    hub, window = _hub(store, MemoryBus()), await store.window()
    async with measured("the hub's start"):
        await hub.start()
    stream: Any = watch.watch_instances(
        hub, Principal(account, "key", frozenset(SCOPES)), hub.tokens.resume(account, window.oldest - 1)
    )
    seen: dict[str, Any] = {}
    count, coalesced, last = 0, 0, 0
    async with measured(f"resuming {window.newest - window.oldest + 1} events back"):
        await anext(stream)
    async with measured("reading what it holds"):
        while not all(subscription.idle for subscription in hub._open):
            event = watch_pb2.InstanceEvent.FromString(await anext(stream))
            seq = hub.tokens.read_resume(event.resume_token, account)
            assert seq >= last, "tokens never fall"
            seen[event.instance.id], last = event, seq
            count, coalesced = count + 1, coalesced + event.coalesced
            if not count % 50:
                await asyncio.sleep(0)
    assert {id: event.event_id for id, event in seen.items()} == newest
    assert coalesced
    print(f"{'':<44}{count} messages, {coalesced} coalesced, {len(newest)} instances")
    await stream.aclose()


class Shop:
    """A provider that lists what our rows say it has."""

    name = "alpha"
    capabilities = Capabilities()

    def __init__(self, machines: tuple[Machine, ...]) -> None:
        self._machines = machines

    async def list(self, label_prefix: str) -> Listing:
        return Listing(True, self._machines)


async def test_a_sweep(year: Year, store: SqliteStore) -> None:
    sql = "SELECT machine_id, label FROM instances WHERE end_at IS NULL"
    machines = tuple(Machine(id, label, MachineStatus.RUNNING) for id, label in _rows(year.filled, sql))
    provider: Any = Shop(machines)
    core = Core(
        store=store, clock=SystemClock(), ids=SystemIds(), bus=MemoryBus(), secrets=MasterKeySecrets(bytes(32)),
        ssh_keys=AsyncsshKeyParser(), prober=None, providers={"alpha": provider}, offers=OfferBook(),  # type: ignore[arg-type]
        policy=Policy(), deployment_id=DEPLOYMENT,
    )  # fmt: skip
    sweeper = Sweeper(core, provider)
    async with measured(f"a sweep over {len(machines)} machines"):
        await sweeper.sweep()
    assert (sweeper.report.orphans, sweeper.report.foreign, sweeper.report.ghosts) == (0, 0, 0)


async def test_retention(year: Year) -> None:
    """Last: it removes what is old. Writers go on, streams too, and the newest events stay."""
    filled, bus = year.filled, MemoryBus()
    store = SqliteStore(filled.path, SystemClock(), SystemIds(), lambda *_: bus.notify(Topic.EVENTS))
    account, keep = filled.accounts[0], filled.size.events // 3
    hub = _hub(store, bus)
    await hub.start()
    following = asyncio.create_task(hub.run())
    stream: Any = watch.watch_instances(hub, Principal(account, "key", frozenset(SCOPES)), "")
    await anext(stream)
    mine = _own(filled, "end_at IS NULL")[0]
    waits: list[float] = []
    steps: list[float] = []
    names: list[str] = []

    async def write() -> None:
        for n in range(10_000):
            began = time.perf_counter()

            def decide(tx: Transaction, n: int = n) -> None:
                row = tx.get(Instance, mine)
                assert row is not None
                tx.put(replace(row, name=str(n)))

            await store.run(UnitOfWork(ALL, [Get(Instance, mine)], decide))
            waits.append(time.perf_counter() - began)
            await asyncio.sleep(0.002)

    async def read() -> None:
        async for raw in stream:
            names.append(watch_pb2.InstanceEvent.FromString(raw).instance.name)

    writing, reading = asyncio.create_task(write()), asyncio.create_task(read())
    await asyncio.sleep(0.2)
    alone = sorted(waits)[len(waits) * 99 // 100]
    waits.clear()
    async with measured("retention, all of it"):
        removed = 1
        while removed:
            began = time.perf_counter()
            removed = await store.expire(NOW - 30 * DAY, keep, 1000)
            steps.append(time.perf_counter() - began)
    writing.cancel()
    await asyncio.sleep(0.1)
    window, written = await store.window(), len(names)
    age = _rows(filled, "SELECT min(at) FROM events")[0][0]
    kept = window.newest - window.oldest + 1
    print(f"{'':<44}{len(steps)} steps, the longest {max(steps) * 1000:.1f} ms, the median {_middle(steps):.1f} ms")
    longest = max(waits, default=0) * 1000
    print(f"{'':<44}writes meanwhile: {len(waits)}, longest {longest:.1f} ms, p99 alone {alone * 1000:.1f} ms")
    assert kept >= keep
    assert age >= NOW - 30 * DAY or kept == keep
    assert names == [str(n) for n in range(written)], "the stream went on and missed nothing"
    assert not reading.done()
    assert _middle(steps) < 50
    began = time.perf_counter()
    assert await store.expire(NOW - 30 * DAY, keep, 1000) == 0
    print(f"{'a look that finds nothing to remove':<44}{(time.perf_counter() - began) * 1000:10.2f} ms")
    for task in (reading, following):
        task.cancel()
    await asyncio.gather(reading, following, return_exceptions=True)
    await stream.aclose()
    await store.close()


def _middle(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) // 2] * 1000
