"""One body over every store: what ports/store.py promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gpuplane.v1 import instance_pb2, watch_pb2

from controlplane.adapters.store.memory import MemoryDisk, MemoryStore
from controlplane.adapters.store.postgres import PostgresStore
from controlplane.adapters.store.schema import migrate
from controlplane.adapters.store.sqlite import SqliteStore
from controlplane.adapters.system import SystemIds
from controlplane.domain.account import Account, ApiKey, SshKey
from controlplane.domain.budget import Budget, Period
from controlplane.domain.errors import NotFound
from controlplane.domain.instance import Instance
from controlplane.domain.ledger import LedgerEntry, LedgerKind
from controlplane.domain.operation import Attempt, Failure, Operation, OperationState, Step
from controlplane.domain.principal import ALL, Scope
from controlplane.domain.state import State
from controlplane.domain.work import WorkItem
from controlplane.ports.store import (
    CountLive,
    Due,
    Get,
    InstanceQuery,
    LiveInstances,
    OperationQuery,
    Store,
    Transaction,
    UnitOfWork,
    UsageQuery,
    Where,
)
from tests.support.fakes import SECOND, START, FakeClock, FakeIds, instance, operation
from tests.support.postgres import new_database

A, B = Scope("acct_a"), Scope("acct_b")
HOUR = 3600 * SECOND


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Store]:
    ids = FakeIds(1, clock)
    made: Any
    if request.param == "memory":
        made = MemoryStore(MemoryDisk(), clock, ids)
    elif request.param == "postgresql":
        url = await new_database()
        await migrate(url, SystemIds(), lambda: "test")
        made = PostgresStore(url, ids, clock=clock)
    else:
        path = tmp_path / "plane.db"
        await migrate(f"sqlite:///{path}", SystemIds(), lambda: "test")
        made = SqliteStore(path, clock, ids)
    yield made
    await made.close()


async def put(store: Store, *rows: Any, scope: Scope = ALL) -> None:
    loads = [Get(type(row), row.id) for row in rows]

    def decide(tx: Transaction) -> None:
        for row in rows:
            tx.put(row)

    await store.run(UnitOfWork(scope, loads, decide))


async def change(store: Store, table: type[Any], id: str, how: Callable[[Any], Any], scope: Scope = ALL) -> Any:
    def decide(tx: Transaction) -> Any:
        row = tx.get(table, id)
        if row is None:
            raise NotFound(id)
        tx.put(how(row))
        return row

    return await store.run(UnitOfWork(scope, [Get(table, id)], decide))


async def test_what_is_put_is_read_back_field_by_field(store: Store) -> None:
    row = instance(
        labels={"a": "ü", "b": ""}, state=State.RUNNING, run_at=START, ssh_host="h", ssh_port=22, stop_force=True,
        ssh_key_ids=("k1", "k2"), idle_since=5,
    )  # fmt: skip
    op = operation(
        steps=(Step("allocate", 1, 2),), attempts=(Attempt(1, "o", "local", 3, "USD", 4),), failure=Failure(1, "R", "m")
    )
    key = ApiKey("key_1", "acct_a", "n", "p", "hash", ("instances:read",), START, None, 7)
    await put(store, row, op, key)
    assert await store.get(A, Instance, "inst_1") == replace(row, revision=1)
    assert await store.get(A, Operation, "op-1") == replace(op, revision=1)
    assert await store.get(A, ApiKey, "key_1") == key


async def test_another_accounts_rows_do_not_exist(store: Store) -> None:
    await put(store, instance(), operation())
    assert await store.get(B, Instance, "inst_1") is None
    assert await store.message(B, Instance, "inst_1") is None
    assert await store.messages(B, InstanceQuery(), "", 10) == []
    assert await store.select(B, Operation, {}, "", 10) == []
    with pytest.raises(NotFound):
        await change(store, Instance, "inst_1", lambda r: r, scope=B)


async def test_the_stored_message_is_the_canonical_one(store: Store) -> None:
    await put(store, instance(name="box"))
    message = instance_pb2.Instance.FromString(await store.message(A, Instance, "inst_1") or b"")
    assert (message.id, message.name, message.revision, message.state) == (
        "inst_1", "box", 1, instance_pb2.INSTANCE_STATE_ACCEPTED,
    )  # fmt: skip


async def test_a_visible_change_gets_a_revision_and_an_event(store: Store) -> None:
    await put(store, instance())
    await change(store, Instance, "inst_1", lambda r: replace(r, name="new", updated_at=START + 1))
    events = await store.events(0, 10)
    bodies = [watch_pb2.InstanceEvent.FromString(e.body) for e in events]
    assert [e.seq for e in events] == [1, 2]
    assert [b.instance.revision for b in bodies] == [1, 2]
    assert [b.type for b in bodies] == [watch_pb2.INSTANCE_EVENT_TYPE_CREATED, watch_pb2.INSTANCE_EVENT_TYPE_CHANGED]
    assert bodies[1].instance.name == "new"
    assert bodies[1].event_id.startswith("evt_")


async def test_a_hidden_change_is_kept_and_makes_no_event(store: Store) -> None:
    await put(store, instance())
    before = await store.message(A, Instance, "inst_1")
    await change(store, Instance, "inst_1", lambda r: replace(r, seen_at=START + 5, charged_nano=9))
    row = await store.get(A, Instance, "inst_1")
    assert row is not None
    assert (row.seen_at, row.charged_nano, row.revision) == (START + 5, 9, 1)
    assert await store.message(A, Instance, "inst_1") == before
    assert len(await store.events(0, 10)) == 1


async def test_a_batch_is_decided_in_order_each_on_the_last(store: Store) -> None:
    await put(store, instance())
    names = await asyncio.gather(
        *(change(store, Instance, "inst_1", lambda r, n=n: replace(r, name=f"{r.name}{n}")) for n in range(8))
    )
    row = await store.get(A, Instance, "inst_1")
    assert row is not None
    assert row.name == "01234567"
    assert [r.name for r in names] == ["01234567"[:n] for n in range(8)]
    assert row.revision == 9
    assert [e.seq for e in await store.events(0, 100)] == list(range(1, 10))


async def test_each_row_of_a_batch_keeps_what_its_unit_left_alone(store: Store) -> None:
    await put(store, instance(seen_at=5, labels={"a": "1"}), instance("inst_2", seen_at=6, labels={"b": "2"}))
    await asyncio.gather(
        change(store, Instance, "inst_1", lambda r: replace(r, labels={"c": "3"})),
        change(store, Instance, "inst_2", lambda r: replace(r, seen_at=None)),
    )
    first, second = await store.get(A, Instance, "inst_1"), await store.get(A, Instance, "inst_2")
    assert first == instance(seen_at=5, labels={"c": "3"}, revision=2)
    assert second == instance("inst_2", labels={"b": "2"}, revision=1)


async def test_a_row_comes_back_as_it_was_committed(store: Store) -> None:
    def renamed(tx: Transaction) -> Instance:
        row = replace(tx.get(Instance, "inst_1") or instance(), name="box")
        tx.put(row)
        return row

    await put(store, instance())
    assert (await store.run(UnitOfWork(ALL, [Get(Instance, "inst_1")], renamed))).revision == 2
    assert (await store.run(UnitOfWork(ALL, [Get(Instance, "inst_1")], renamed))).revision == 2  # nothing changed


async def test_one_refusal_harms_no_neighbour_and_changes_nothing(store: Store) -> None:
    await put(store, instance(), instance("inst_2"))

    def refuse(tx: Transaction) -> None:
        tx.put(replace(tx.get(Instance, "inst_1") or instance(), name="half-done"))
        raise NotFound("no")

    results = await asyncio.gather(
        change(store, Instance, "inst_2", lambda r: replace(r, name="a")),
        store.run(UnitOfWork(ALL, [Get(Instance, "inst_1")], refuse)),
        change(store, Instance, "inst_2", lambda r: replace(r, labels={"x": "y"})),
        return_exceptions=True,
    )
    assert isinstance(results[1], NotFound)
    one, two = await store.get(A, Instance, "inst_1"), await store.get(A, Instance, "inst_2")
    assert one is not None
    assert two is not None
    assert (one.name, two.name, two.labels) == ("", "a", {"x": "y"})


async def test_a_cancelled_caller_poisons_nobody(store: Store) -> None:
    await put(store, instance(), instance("inst_2"))
    doomed = asyncio.create_task(change(store, Instance, "inst_1", lambda r: replace(r, name="x")))
    fine = asyncio.create_task(change(store, Instance, "inst_2", lambda r: replace(r, name="y")))
    await asyncio.sleep(0)
    doomed.cancel()
    await fine
    two = await store.get(A, Instance, "inst_2")
    assert two is not None
    assert two.name == "y"


async def test_pages_are_newest_first_and_stable_under_inserts(store: Store) -> None:
    await put(store, *(instance(f"inst_{n:02}") for n in range(10)))
    first = await store.messages(A, InstanceQuery(), "", 4)
    await put(store, instance("inst_99"))
    rest = await store.messages(A, InstanceQuery(), first[-1][0], 100)
    assert [id for id, _ in first + rest] == [f"inst_{n:02}" for n in reversed(range(10))]


async def test_instances_are_filtered(store: Store) -> None:
    await put(
        store,
        instance("inst_1", labels={"team": "a", "x.y/z": "1"}),
        instance("inst_2", state=State.FAILED, end_at=START, labels={"team": "b"}),
        instance("inst_3", state=State.RUNNING, provider="vastai"),
    )

    async def ids(query: InstanceQuery) -> list[str]:
        return [id for id, _ in await store.messages(A, query, "", 10)]

    assert await ids(InstanceQuery(states=frozenset({State.FAILED, State.RUNNING}))) == ["inst_3", "inst_2"]
    assert await ids(InstanceQuery(provider="vastai")) == ["inst_3"]
    assert await ids(InstanceQuery(live_only=True)) == ["inst_3", "inst_1"]
    assert await ids(InstanceQuery(labels=(("team", "b"),))) == ["inst_2"]
    assert await ids(InstanceQuery(labels=(("team", None),))) == ["inst_2", "inst_1"]
    assert await ids(InstanceQuery(labels=(("team", "a"), ("x.y/z", "1")))) == ["inst_1"]


async def test_operations_are_filtered(store: Store) -> None:
    await put(store, operation("op-1"), operation("op-2", instance_id="inst_2", state=OperationState.FAILED))
    found = await store.messages(A, OperationQuery(instance_id="inst_2"), "", 10)
    assert [id for id, _ in found] == ["op-2"]
    found = await store.messages(A, OperationQuery(state=OperationState.PENDING), "", 10)
    assert [id for id, _ in found] == ["op-1"]


async def test_where_and_counts_see_the_batch(store: Store) -> None:
    account = Account("acct_a", "a", "USD", 2, START)
    await put(store, account)

    def add(id: str) -> UnitOfWork[int]:
        def decide(tx: Transaction) -> int:
            before = tx.count_live("acct_a")
            if before >= 2:
                raise NotFound("full")
            tx.put(instance(id))
            return before

        return UnitOfWork(A, [CountLive("acct_a")], decide)

    results = await asyncio.gather(*(store.run(add(f"inst_{n}")) for n in range(4)), return_exceptions=True)
    assert results[:2] == [0, 1]
    assert all(isinstance(r, NotFound) for r in results[2:])

    def live(tx: Transaction) -> list[str]:
        return [row.id for row in tx.live_instances("acct_a")]

    assert await store.run(UnitOfWork(A, [LiveInstances("acct_a")], live)) == ["inst_0", "inst_1"]
    await put(store, SshKey("sshkey_1", "acct_a", "n", "k", "f", START))

    def named(tx: Transaction) -> int:
        return len(tx.where(SshKey, "account_id", "acct_a"))

    assert await store.run(UnitOfWork(A, [Where(SshKey, "account_id", "acct_a")], named)) == 1
    assert await store.run(UnitOfWork(B, [Where(SshKey, "account_id", "acct_a")], named)) == 0


def claim(limit: int = 10, **due: Any) -> UnitOfWork[list[str]]:
    def decide(tx: Transaction) -> list[str]:
        items = tx.due()
        for item in items:
            tx.put(item.claimed("me", tx.now, 3 * SECOND))
        return [item.id for item in items]

    return UnitOfWork(ALL, [Due(limit, **due)], decide)


async def test_work_is_claimed_once_oldest_first_and_again_after_its_lease(store: Store, clock: FakeClock) -> None:
    await put(store, WorkItem("b", START), WorkItem("a", START), WorkItem("later", START + HOUR))
    first, second = await asyncio.gather(store.run(claim()), store.run(claim()))
    assert (first, second) == (["a", "b"], [])
    assert await store.due_in("") == 3.0
    clock.advance(2)
    assert await store.run(claim()) == []
    clock.advance(1)
    assert await store.due_in("") == 0.0
    assert await store.run(claim()) == ["a", "b"]
    item = await store.get(ALL, WorkItem, "a")
    assert item is not None
    assert item.fence == 2


async def test_work_comes_with_its_instances_and_their_operations(store: Store) -> None:
    await put(store, instance("inst_1"), operation("op-inst_1"), instance("inst_2"))
    await put(store, WorkItem("inst_1", START), WorkItem("inst_2", START), WorkItem("inst_gone", START))

    def found(tx: Transaction) -> list[tuple[int | None, bool]]:
        rows = [(tx.get(Instance, item.id), tx.get(Operation, f"op-{item.id}")) for item in tx.due()]
        return [(row.revision if row else None, made is not None) for row, made in rows]

    assert await store.run(UnitOfWork(ALL, [Due(10)], found)) == [(1, True), (1, False), (None, False)]


async def test_a_claim_honours_provider_limits_and_hosts(store: Store) -> None:
    await put(
        store, WorkItem("a", START, "p"), WorkItem("b", START, "p"), WorkItem("c", START, "q"),
        WorkItem("d", START, "local", "host-1"),
    )  # fmt: skip
    assert await store.run(claim(limits=(("p", 1),))) == ["a", "c"]
    assert await store.run(claim(limits=(("p", 0),), host_id="host-1")) == ["d"]
    assert await store.run(claim(limit=1)) == ["b"]


async def test_a_busy_provider_hides_nobody_s_work(store: Store) -> None:
    await put(store, *(WorkItem(f"busy-{n:03}", START - 1, "p") for n in range(60)), WorkItem("free", START, "q"))
    assert await store.run(claim(limit=10, limits=(("p", 0),))) == ["free"]


async def test_a_poke_survives_the_release(store: Store, clock: FakeClock) -> None:
    await put(store, WorkItem("a", START))
    await store.run(claim())
    clock.advance(1)
    await change(store, WorkItem, "a", lambda i: i.poked(START + SECOND))
    assert await store.run(claim()) == []
    await change(store, WorkItem, "a", lambda i: i.released(START + HOUR))
    assert await store.run(claim()) == ["a"]


async def test_budget_thresholds_become_events(store: Store, clock: FakeClock) -> None:
    budget = Budget("budget_1", "acct_a", "b", 100, "USD", Period.TOTAL, 0, START)
    await put(store, budget)
    assert await store.events(0, 10) == []
    await change(store, Budget, "budget_1", lambda b: b.spend(49).crossing())
    assert await store.events(0, 10) == []
    await change(store, Budget, "budget_1", lambda b: b.spend(32).crossing())
    alerts = [watch_pb2.InstanceEvent.FromString(e.body).budget_alert for e in await store.events(0, 10)]
    assert [(a.budget_id, a.threshold_percent) for a in alerts] == [("budget_1", 50), ("budget_1", 80)]


def entry(id: str, start: int, end: int, nano: int, **changes: Any) -> LedgerEntry:
    fields: dict[str, Any] = {
        "id": id, "kind": LedgerKind.CHARGE, "account_id": "acct_a", "instance_id": "inst_1", "attempt": 1,
        "start_at": start, "end_at": end, "amount_nano": nano, "currency": "USD", "provider": "local",
        "gpu_type": "H100 SXM", "gpu_count": 2, "posted_at": end,
    } | changes  # fmt: skip
    return LedgerEntry(**fields)


async def test_usage_is_summed_by_bucket_and_group(store: Store) -> None:
    await put(
        store,
        entry("led_1", START, START + HOUR, 10),
        entry("led_2", START + HOUR, START + 2 * HOUR, 20, instance_id="inst_2", gpu_type="cpu", gpu_count=0),
        entry("led_3", START + 24 * HOUR, START + 25 * HOUR, 40),
        entry("led_4", START, START + HOUR, 80, account_id="acct_b"),
        entry("led_5", START, START + HOUR, 160, kind=LedgerKind.PROVIDER_COST),
    )
    everything = UsageQuery(LedgerKind.CHARGE, START, START + 48 * HOUR)
    (total,) = await store.usage(A, everything)
    assert (total.amount_nano, total.instances, total.machine_us, total.gpu_us) == (70, 2, 3 * HOUR, 5 * HOUR)
    days = await store.usage(A, replace(everything, bucket="day"))
    assert [(r.bucket_at, r.amount_nano) for r in days] == [(START, 30), (START + 24 * HOUR, 40)]
    months = await store.usage(A, replace(everything, bucket="month", group="gpu_type"))
    assert [(r.group, r.amount_nano) for r in months] == [("H100 SXM", 50), ("cpu", 20)]
    half_open = replace(everything, end_at=START + HOUR)
    assert [r.amount_nano for r in await store.usage(A, half_open)] == [10]
    assert [r.amount_nano for r in await store.usage(ALL, replace(everything, instance_id="inst_2"))] == [20]


async def test_usage_can_be_narrowed_to_instances_with_a_label(store: Store) -> None:
    await put(
        store,
        instance("inst_1", labels={"shop/who": 'a\'s "app"', "x": "y"}),
        instance("inst_2", labels={"shop/who": "b"}),
        instance("inst_3"),
        instance("inst_4", "acct_b", labels={"shop/who": "b"}),
        *(entry(f"led_{n}", START, START + HOUR, 10**n, instance_id=f"inst_{n}") for n in (1, 2, 3)),
        entry("led_4", START, START + HOUR, 10**4, instance_id="inst_4", account_id="acct_b"),
    )
    everything = UsageQuery(LedgerKind.CHARGE, START, START + HOUR)

    async def nano(scope: Scope, key: str, value: str | None, **changes: Any) -> list[int]:
        rows = await store.usage(scope, replace(everything, label=(key, value), **changes))
        return [row.amount_nano for row in rows]

    assert await nano(A, "shop/who", None) == [110]
    assert await nano(A, "shop/who", 'a\'s "app"') == [10]
    assert await nano(A, "shop/who", "nobody") == []
    assert await nano(ALL, "shop/who", "b") == [10_100]
    assert await nano(A, "shop/who", None, group="provider", bucket="month") == [110]
    assert await nano(A, "shop/who", None, instance_id="inst_3") == []


async def test_retention_removes_what_is_old_and_keeps_the_newest_event(store: Store, clock: FakeClock) -> None:
    await put(store, instance(), operation("op-1", done_at=START), operation("op-2"))
    clock.advance(100)
    assert await store.expire(START + 50 * SECOND, 1, 1000) == 3
    assert await store.get(A, Operation, "op-1") is None
    assert await store.get(A, Operation, "op-2") is not None
    window = await store.window()
    assert (window.oldest, window.newest) == (3, 3)
    await change(store, Instance, "inst_1", lambda r: replace(r, name="n"))
    assert (await store.window()).newest == 4


async def test_the_store_says_who_it_is_and_that_it_works(store: Store) -> None:
    assert (await store.info()).deployment_id == "test"
    await store.check()
