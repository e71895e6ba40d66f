"""What the PostgreSQL store promises beyond the contract of every store: several processes, and a database's bad days.

Two PostgresStore instances stand for two processes: they share nothing but the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from controlplane.adapters.store import postgres, postgres_link, postgres_writer
from controlplane.adapters.store.postgres import PostgresStore
from controlplane.adapters.store.schema import SCHEMA, SchemaError, migrate, new_epoch
from controlplane.adapters.system import SystemIds
from controlplane.domain.account import Account, IdempotencyRecord, SshKey
from controlplane.domain.budget import Budget, Period
from controlplane.domain.errors import ResourceExhausted, Unavailable
from controlplane.domain.instance import Instance
from controlplane.domain.ledger import LedgerKind
from controlplane.domain.operation import Operation
from controlplane.domain.principal import ALL, Scope
from controlplane.domain.work import WorkItem
from controlplane.ports.store import (
    CountLive,
    Due,
    Get,
    InstanceQuery,
    Load,
    Transaction,
    UnitOfWork,
    UsageQuery,
    Where,
)
from tests.support.fakes import START, instance, operation
from tests.support.postgres import PostgresServer, Proxy, fill, new_database, server, small_disk

A = Scope("acct_a")
UNREACHABLE = "the database cannot be reached; nothing was changed, try again"


@pytest.fixture(scope="module")
def breakable() -> Iterator[PostgresServer]:
    """A server over TCP, with passwords, that tests may stop."""
    with PostgresServer(listen=True, password="p:/@% ü") as started:
        yield started


@pytest.fixture(scope="module")
def proxy(breakable: PostgresServer) -> Iterator[Proxy]:
    with Proxy(*breakable.address) as started:
        yield started


class Stores:
    """Stores over one database, as processes would have them."""

    def __init__(self, stack: contextlib.AsyncExitStack) -> None:
        self._stack = stack

    async def on(self, url: str, count: int = 1, **how: Any) -> Any:
        await migrate(url, SystemIds(), lambda: "test")
        made = [PostgresStore(url, SystemIds(), **how) for _ in range(count)]
        for store in made:
            self._stack.push_async_callback(store.close)
        return made if count > 1 else made[0]

    async def fresh(self, count: int = 1, **how: Any) -> Any:
        return await self.on(await new_database(), count, **how)


@pytest.fixture
async def stores() -> AsyncIterator[Stores]:
    async with contextlib.AsyncExitStack() as stack:
        yield Stores(stack)


@pytest.fixture
async def behind(breakable: PostgresServer, proxy: Proxy, stores: Stores) -> AsyncIterator[tuple[PostgresStore, Proxy]]:
    """A store that reaches its database through the proxy."""
    name = f"d{os.urandom(4).hex()}"
    await stores.on(breakable.create(name))
    yield await stores.on(breakable.url(name, via=proxy)), proxy
    proxy.delay_s, proxy.stalled, proxy.lose_commits, proxy.hold_commit_s = 0.0, False, 0, 0.0
    proxy.cut()


def putting(*rows: Any, loads: list[Load] | None = None) -> UnitOfWork[None]:
    def decide(tx: Transaction) -> None:
        for row in rows:
            tx.put(row)

    return UnitOfWork(ALL, [Get(type(row), row.id) for row in rows] if loads is None else loads, decide)


def renaming(id: str, how: Callable[[str], str]) -> UnitOfWork[str]:
    def decide(tx: Transaction) -> str:
        row = tx.get(Instance, id) or instance(id)
        tx.put(replace(row, name=how(row.name)))
        return how(row.name)

    return UnitOfWork(ALL, [Get(Instance, id)], decide)


async def name_of(store: PostgresStore, id: str = "inst_1") -> str | None:
    row = await store.get(ALL, Instance, id)
    return None if row is None else row.name


async def eventually(ask: Callable[[], Awaitable[Any]], timeout_s: float = 10.0) -> Any:
    """The first answer that is no Unavailable."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return await ask()
        except Unavailable:
            assert time.monotonic() < deadline, "it does not recover"
            await asyncio.sleep(0.05)


async def until(true: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait for a plain condition."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.002)


async def refusal(ask: Awaitable[Any]) -> str:
    with pytest.raises(Unavailable) as caught:
        await ask
    return caught.value.message


# A COMMIT whose answer is lost


@pytest.mark.parametrize("events", [True, False], ids=["with events", "without events"])
async def test_a_commit_whose_answer_was_lost_is_not_run_again(behind: Any, events: bool) -> None:
    store, proxy = behind
    await store.run(putting(instance(), WorkItem("w", START)))
    proxy.lose_commits = 1
    if events:
        assert await store.run(renaming("inst_1", lambda n: n + "x")) == "x"
        assert await name_of(store) == "x"
        assert [e.revision for e in await store.events(0, 10)] == [1, 2]
    else:

        def poke(tx: Transaction) -> None:
            item = tx.get(WorkItem, "w")
            assert item is not None
            tx.put(replace(item, fence=item.fence + 1))

        await store.run(UnitOfWork(ALL, [Get(WorkItem, "w")], poke))
        assert (await store.get(ALL, WorkItem, "w")).fence == 1
    assert proxy.commits_lost
    proxy.commits_lost = 0


async def test_a_commit_that_arrives_late_does_nothing_once_it_was_given_up(behind: Any) -> None:
    """The client is cut off first; the server gets the COMMIT half a second later. The batch is looked up before that,
    and run again: the first one must then be refused, or everything would have been done twice."""
    store, proxy = behind
    await store.run(putting(instance()))
    proxy.lose_commits, proxy.hold_commit_s = 1, 0.5
    await store.run(renaming("inst_1", lambda n: n + "x"))
    await asyncio.sleep(0.6)
    assert await name_of(store) == "x"
    assert [(e.seq, e.revision) for e in await store.events(0, 10)] == [(1, 1), (2, 2)]


async def test_each_of_many_commits_loses_its_answer(behind: Any) -> None:
    store, proxy = behind
    await store.run(putting(instance()))
    for n in range(8):
        proxy.lose_commits = 1
        await asyncio.gather(*(store.run(renaming("inst_1", lambda name, c=c: name + c)) for c in f"{n}a"))
    assert await name_of(store) == "".join(f"{n}a" for n in range(8))
    assert [e.seq for e in await store.events(0, 100)] == list(range(1, 18))


async def test_an_outcome_that_cannot_be_found_out_is_not_called_a_failure(breakable: Any, behind: Any) -> None:
    store, proxy = behind
    await store.run(putting(instance()))
    proxy.lose_commits = 1

    async def stall() -> None:
        await until(lambda: proxy.commits_lost)
        breakable.stop()

    proxy.commits_lost = 0
    try:
        with mock.patch.object(postgres_link, "RETRY_FOR_S", 0.3):
            said, _ = await asyncio.gather(refusal(store.run(renaming("inst_1", lambda n: n + "x"))), stall())
    finally:
        breakable.start()
    assert "whether this was done is not known, ask again with the same request_id" in said
    assert await eventually(lambda: name_of(store)) in ("", "x")


# Several processes


async def test_one_idempotency_record_whichever_process_is_first(stores: Stores) -> None:
    several = await stores.fresh(2)
    await several[0].run(putting(Account("acct_a", "a", "USD", 100, START)))

    def create(tx: Transaction) -> str:
        record = tx.get(IdempotencyRecord, "idem")
        if record is not None:
            return record.result_id
        row = instance(f"inst_{tx.ids.uuid7().hex}")
        tx.put(row)
        tx.put(IdempotencyRecord("idem", "acct_a", "f", row.id, tx.now))
        return row.id

    # Without the account's lock, so that nothing but the record's key decides.
    unit = UnitOfWork(ALL, [Get(IdempotencyRecord, "idem")], create)
    answers = await asyncio.gather(*(store.run(unit) for store in several for _ in range(20)))
    assert len(set(answers)) == 1
    assert len(await several[0].messages(ALL, InstanceQuery(), "", 100)) == 1


async def test_a_quota_holds_across_processes(stores: Stores) -> None:
    several = await stores.fresh(3)
    await several[0].run(
        putting(
            Account("acct_a", "a", "USD", 7, START),
            Budget("budget_1", "acct_a", "b", 100, "USD", Period.TOTAL, 0, START),
        )
    )

    def create(n: int) -> UnitOfWork[None]:
        def decide(tx: Transaction) -> None:
            if tx.count_live("acct_a") >= 7:
                raise ResourceExhausted("full")
            (budget,) = tx.where(Budget, "account_id", "acct_a")
            tx.put(budget.held(10))
            tx.put(instance(f"inst_{n:02}"))

        # CountLive alone must be enough: it locks the account.
        return UnitOfWork(A, [CountLive("acct_a"), Where(Budget, "account_id", "acct_a")], decide)

    answers = await asyncio.gather(*(several[n % 3].run(create(n)) for n in range(30)), return_exceptions=True)
    assert sum(answer is None for answer in answers) == 7
    assert all(isinstance(answer, ResourceExhausted) for answer in answers if answer is not None)
    assert (await several[1].get(ALL, Budget, "budget_1")).held_nano == 70


async def test_work_is_claimed_once_across_processes(stores: Stores) -> None:
    several = await stores.fresh(3)
    await several[0].run(putting(*(WorkItem(f"w{n:03}", START, "p" if n < 60 else "q") for n in range(90))))

    def claim(holder: int) -> UnitOfWork[list[str]]:
        def decide(tx: Transaction) -> list[str]:
            items = [item.claimed(str(holder), tx.now, 1_000_000_000) for item in tx.due()]
            for item in items:
                tx.put(item)
            return [item.id for item in items]

        return UnitOfWork(ALL, [Due(7, limits=(("p", 5),))], decide)

    claimed = await asyncio.gather(*(several[n % 3].run(claim(n)) for n in range(30)))
    ids = [id for some in claimed for id in some]
    assert len(ids) == len(set(ids))
    while more := await several[0].run(claim(99)):
        ids += more
    assert len(ids) == len(set(ids)) == 90


async def test_a_busy_providers_backlog_hides_nobodys_work(stores: Stores) -> None:
    store = await stores.fresh()
    await store.run(putting(*(WorkItem(f"w{n:03}", START, "busy") for n in range(300)), WorkItem("z", START + 1, "q")))
    unit = UnitOfWork(ALL, [Due(10, limits=(("busy", 0),))], lambda tx: [item.id for item in tx.due()])
    assert await store.run(unit) == ["z"]


async def test_opposite_orders_do_not_deadlock(stores: Stores) -> None:
    """Rows of three tables, asked for by id and by column, in opposite orders. A deadlock would cost a second each."""
    several = await stores.fresh(2)
    accounts = [f"acct_{n}" for n in range(6)]
    rows = [
        row
        for n, account in enumerate(accounts)
        for row in (
            instance(f"inst_{n}", account), operation(f"op-{5 - n}", account, f"inst_{n}"),
            WorkItem(f"inst_{n}", START),
            Budget(f"budget_{5 - n}", account, "b", 10**9, "USD", Period.TOTAL, 0, START),
        )
    ]  # fmt: skip
    await several[0].run(putting(*rows))

    def step(order: list[int], spend_only: bool) -> UnitOfWork[None]:
        def decide(tx: Transaction) -> None:
            for n in order:
                for budget in tx.where(Budget, "account_id", f"acct_{n}"):
                    tx.put(budget.spend(1))

        loads: list[Load] = []
        for n in order:
            loads += [Where(Budget, "account_id", f"acct_{n}")]
            if not spend_only:
                loads += [Get(WorkItem, f"inst_{n}"), Get(Instance, f"inst_{n}"), Get(Budget, f"budget_{n}")]
        return UnitOfWork(ALL, loads, decide)

    before = server().sql("SELECT sum(deadlocks) FROM pg_stat_database")[0][0]
    there = list(range(6))
    await asyncio.gather(
        *(several[n % 2].run(step(there[:: (1, -1)[n % 2]], spend_only=n % 3 == 0)) for n in range(120))
    )
    spent = [(await several[0].get(ALL, Budget, f"budget_{n}")).spent_nano for n in there]
    assert spent == [120] * 6
    assert server().sql("SELECT sum(deadlocks) FROM pg_stat_database")[0][0] == before


async def test_a_real_deadlock_is_run_again(stores: Stores) -> None:
    store = await stores.fresh()
    await store.run(putting(SshKey("k1", "acct_a", "n", "k", "f", START), Account("acct_a", "a", "USD", 2, START)))
    other = await asyncpg.connect(store._batches._open.args[0])
    try:
        await other.execute("SET deadlock_timeout = '10s'")  # ours is the victim
        await other.execute("BEGIN; SELECT 1 FROM ssh_keys WHERE id = 'k1' FOR UPDATE")
        ours = asyncio.create_task(store.run(putting(replace(SshKey("k1", "acct_a", "m", "k", "f", START)),
                                                     Account("acct_a", "b", "USD", 2, START))))  # fmt: skip
        await until(lambda: server().sql("SELECT 1 FROM pg_locks WHERE NOT granted"))
        await other.execute("SELECT 1 FROM accounts WHERE id = 'acct_a' FOR UPDATE; COMMIT")
        await ours
    finally:
        await other.close()
    assert (await store.get(ALL, SshKey, "k1")).name == "m"


async def test_the_log_of_sixteen_writers_in_two_processes(stores: Stores) -> None:
    """No gap, nothing reordered, and a reader that tails the log misses nothing."""
    several = await stores.fresh(2)
    await several[0].run(putting(*(instance(f"inst_{n}") for n in range(20))))
    seen: list[Any] = []
    done = False

    async def tail(store: PostgresStore) -> None:
        position = 0
        while True:
            last = done
            events = await store.events(position, 50)
            seen.extend(events)
            if events:
                position = events[-1].seq
            elif last:
                return

    async def write(number: int) -> None:
        for n in range(25):
            await several[number % 2].run(renaming(f"inst_{(number * 7 + n) % 20}", lambda _, n=n: f"{number}-{n}"))

    tailing = asyncio.create_task(tail(several[1]))
    await asyncio.gather(*(write(number) for number in range(16)))
    done = True
    await tailing
    assert [e.seq for e in seen] == list(range(1, 20 + 400 + 1)), "gap-free, in order, each once"
    for n in range(20):
        own = [e for e in seen if e.subject_id == f"inst_{n}"]
        assert [e.revision for e in own] == list(range(1, len(own) + 1))
        assert [e.at for e in own] == sorted(e.at for e in own), "an instance's time does not run backwards"


async def test_replicas_that_start_together_on_an_empty_database() -> None:
    url = await new_database()
    said = await asyncio.gather(*(migrate(url, SystemIds(), lambda n=n: f"d{n}") for n in range(4)))
    assert sum(f"-> {SCHEMA:04}" in sentence for sentence in said) == 1
    assert sum("up to date" in sentence for sentence in said) == 3


async def test_others_are_woken_and_we_are_not_woken_by_ourselves(stores: Stores) -> None:
    url = await new_database()
    woken = {"a": 0, "b": 0}
    await stores.on(url)
    both = []
    for name in woken:
        both.append(await stores.on(url, woken=lambda name=name: woken.update({name: woken[name] + 1})))
        await both[-1].run(putting(WorkItem(f"w-{name}", START, lease_until=2**62)))  # which starts the listener
    await until(lambda: min(woken.values()))  # each is woken once when it begins to listen
    before = dict(woken)
    await both[0].run(putting(instance()))
    await until(lambda: woken["b"] > before["b"])
    await both[0].run(putting(WorkItem("held", START, lease_until=2**62)))
    await asyncio.sleep(0.1)
    assert (woken["a"], woken["b"]) == (before["a"], before["b"] + 1), "a claim wakes nobody"


# Connections


async def test_connections_are_few_and_named(stores: Stores) -> None:
    url = await new_database()
    store = await stores.on(url)
    await store.run(putting(instance()))
    usage = UsageQuery(LedgerKind.CHARGE, 0, START)
    await asyncio.gather(*(store.get(ALL, Instance, "inst_1") for _ in range(200)),
                         *(store.usage(ALL, usage) for _ in range(20)), store.check())  # fmt: skip
    database = urlsplit(url).path[1:]
    rows = server().sql(f"SELECT application_name FROM pg_stat_activity WHERE datname = '{database}'")
    assert [row[0] for row in rows] == ["gpuplane"] * 7


async def test_cancelled_readers_do_not_cost_connections(stores: Stores) -> None:
    store = await stores.fresh()
    await asyncio.gather(*(store.get(ALL, Instance, "x") for _ in range(4)))
    opened = 0
    real = asyncpg.connect

    async def counting(*args: Any, **how: Any) -> Any:
        nonlocal opened
        opened += 1
        return await real(*args, **how)

    with mock.patch.object(asyncpg, "connect", counting):
        for _ in range(20):
            doomed = [asyncio.create_task(store.get(ALL, Instance, "x")) for _ in range(8)]
            await asyncio.sleep(0.0005)
            for task in doomed:
                task.cancel()
            await asyncio.gather(*doomed, return_exceptions=True)
        assert await store.get(ALL, Instance, "x") is None
    assert opened == 0
    assert store._readers._idle.qsize() <= postgres.READERS


async def test_cancelled_writers_leave_no_trace_on_others(stores: Stores) -> None:
    store = await stores.fresh()
    for round in range(10):
        tasks = [asyncio.create_task(store.run(renaming(f"inst_{n}", lambda name: name + "x"))) for n in range(6)]
        await asyncio.sleep(0.001 * round)
        for task in tasks[::2]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(answer == "x" * (round + 1) for answer in answers[1::2])
    events = await store.events(0, 1000)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))


async def test_a_cancellation_out_of_the_driver_is_a_lost_connection(stores: Stores) -> None:
    store = await stores.fresh()
    await store.run(putting(instance()))
    real, calls = store._batches._load, []

    async def failing(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            raise asyncio.CancelledError
        return await real(*args)

    with mock.patch.object(store._batches, "_load", failing):
        assert await store.run(renaming("inst_1", lambda n: "y")) == "y"


async def test_every_form_of_url(breakable: PostgresServer, stores: Stores) -> None:
    breakable.sql("CREATE ROLE plane LOGIN PASSWORD 'p:/@% ü'", "CREATE DATABASE forms OWNER plane TEMPLATE template0")
    host, port = breakable.address
    tcp = breakable.url("forms", user="plane")
    for url in (
        tcp,
        tcp.replace("postgresql://", "postgres://"),
        f"{tcp}?sslmode=prefer&application_name=mine&statement_timeout=3s",
        breakable.socket_url("forms", user="plane"),
        f"postgresql:///forms?host={host}&port={port}&user=plane&password=p%3A%2F%40%25%20%C3%BC",
        tcp.replace(f"@{host}:{port}", f"@{host}:1,{host}:{port}"),
    ):
        store = await stores.on(url)
        await store.run(putting(instance()))
        assert await store.usage(ALL, UsageQuery(LedgerKind.CHARGE, 0, START)) == []
        await store.check()
        assert await name_of(store) == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("@127.0.0.1:", "@127.0.0.1:1"), "cannot be opened"),
        (("/nowhere", "/nowhere2"), 'database "nowhere2" does not exist'),
        (("postgres:", "nobody:"), 'password authentication failed for user "nobody"'),
        (("127.0.0.1", "no-such-host.invalid"), "cannot be opened"),
        (("/nowhere", "/nowhere?sslmode=verify-full"), "cannot be opened"),
        (("/nowhere", "/nowhere?sslmode=maybe"), "sslmode"),
    ],
)
async def test_a_database_that_cannot_be_opened_at_the_start(
    breakable: PostgresServer, change: tuple[str, str], says: str
) -> None:
    with pytest.raises(SchemaError) as caught:
        await migrate(breakable.url("nowhere").replace(*change), SystemIds(), lambda: "d")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "p%3A" not in str(caught.value), "no password is shown"


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_another_encoding_is_refused(encoding: str) -> None:
    url = await new_database(options=f"ENCODING '{encoding}'")
    with pytest.raises(
        SchemaError, match=f"the database's encoding is {encoding}; gpuplane needs UTF8: CREATE DATABASE"
    ):
        await migrate(url, SystemIds(), lambda: "d")


async def test_an_old_server_is_refused() -> None:
    url = await new_database()
    with (
        mock.patch("controlplane.adapters.store.schema.MIN_POSTGRESQL", 99),
        pytest.raises(SchemaError, match="needs PostgreSQL 99 or newer; this server is "),
    ):
        await migrate(url, SystemIds(), lambda: "d")


async def test_a_schema_that_is_too_new_is_refused_and_a_compatible_one_left_alone() -> None:
    url = await new_database()
    await migrate(url, SystemIds(), lambda: "d")
    database = urlsplit(url).path[1:]
    server().sql("UPDATE meta SET value = '99' WHERE key = 'schema'", database=database)
    assert await migrate(url, SystemIds(), lambda: "d") == "schema 99, of a newer gpuplane but compatible"
    server().sql("UPDATE meta SET value = '99' WHERE key = 'min_compatible'", database=database)
    with pytest.raises(SchemaError, match=f"needs a gpuplane with schema 99 or newer; this build has schema {SCHEMA}"):
        await migrate(url, SystemIds(), lambda: "d")


async def test_a_new_epoch(stores: Stores) -> None:
    url = await new_database()
    with pytest.raises(SchemaError, match="not one of gpuplane"):
        await new_epoch(url, SystemIds())
    before = await (await stores.on(url)).info()
    epoch = await new_epoch(url, SystemIds())
    after = await (await stores.on(url)).info()
    assert after.epoch == epoch != before.epoch
    assert after.deployment_id == before.deployment_id


async def test_prepared_statements_survive_another_builds_migration(stores: Stores) -> None:
    url = await new_database()
    store = await stores.on(url)
    for _ in range(8):  # enough for generic plans
        await store.run(renaming("inst_1", lambda n: n + "x"))
        await store.get(ALL, Instance, "inst_1")
    server().sql(
        "ALTER TABLE instances ADD COLUMN another text NOT NULL DEFAULT ''",
        "ALTER TABLE instances ALTER COLUMN name TYPE varchar(100)",
        database=urlsplit(url).path[1:],
    )
    assert await name_of(store) == "x" * 8
    assert await store.run(renaming("inst_1", lambda n: n + "y")) == "x" * 8 + "y"


async def test_what_the_database_cannot_hold_harms_no_neighbour(stores: Stores) -> None:
    """A NUL character, a number beyond 64 bits, a key that is taken: each unit fails alone, the rest is committed."""
    store = await stores.fresh()
    await store.run(putting(SshKey("taken", "acct_a", "n", "k", "f", START)))
    with capture_logs() as logged:  # each is logged with its traceback, which takes time to draw
        answers = await asyncio.gather(
            store.run(renaming("inst_1", lambda _: "a")),
            store.run(renaming("inst_2", lambda _: "nul\0")),
            store.run(putting(instance("inst_3"), instance("inst_4", charged_nano=2**70))),
            store.run(putting(SshKey("taken", "acct_b", "n", "k", "f", START), loads=[])),
            store.run(renaming("inst_5", lambda _: "b")),
            return_exceptions=True,
        )
    assert [entry["event"] for entry in logged] == ["store.unit_failed"] * 3
    assert [isinstance(answer, Exception) for answer in answers] == [False, True, True, True, False]
    assert not any(isinstance(answer, Unavailable) for answer in answers)
    assert [id for id, _ in await store.messages(ALL, InstanceQuery(), "", 10)] == ["inst_5", "inst_1"]
    await store.check()


# A database's bad days


async def test_a_restart_between_and_during_batches(breakable: PostgresServer, behind: Any) -> None:
    store, proxy = behind
    await store.run(putting(instance()))
    breakable.restart()
    assert await store.run(renaming("inst_1", lambda n: "after")) == "after"
    assert await name_of(store) == "after"
    for _ in range(3):  # cut in the middle
        running = [asyncio.create_task(store.run(renaming("inst_1", lambda n: n + "x"))) for _ in range(3)]
        await asyncio.sleep(0.002)
        proxy.cut()
        await asyncio.gather(*running)
    assert await name_of(store) == "after" + "x" * 9


async def test_a_database_that_is_gone_for_a_while(breakable: PostgresServer, behind: Any) -> None:
    store, _ = behind
    await store.run(putting(instance()))
    breakable.stop()
    try:
        with mock.patch.object(postgres_link, "RETRY_FOR_S", 0.3):
            said = await asyncio.gather(*(refusal(ask) for ask in (
                store.run(renaming("inst_1", lambda n: "x")), store.get(ALL, Instance, "inst_1"), store.check(),
                store.expire(0, 1, 1), store.usage(ALL, UsageQuery(LedgerKind.CHARGE, 0, START)),
            )))  # fmt: skip
        assert set(said) == {UNREACHABLE}
    finally:
        breakable.start()
    assert await eventually(lambda: store.run(renaming("inst_1", lambda n: n + "y"))) == "y"
    await store.check()


async def test_kill_9_of_the_server_loses_nothing_that_was_acknowledged(behind: Any, breakable: PostgresServer) -> None:
    store, _ = behind
    acknowledged = []

    async def write(n: int) -> None:
        for k in range(30):
            id = f"inst_{n}_{k}"
            await eventually(lambda id=id: store.run(putting(instance(id))))
            acknowledged.append(id)

    writing = [asyncio.create_task(write(n)) for n in range(4)]
    await asyncio.sleep(0.05)
    breakable.kill9()
    breakable.start()
    await asyncio.gather(*writing)
    found = {id for id, _ in await store.messages(ALL, InstanceQuery(), "", 1000)}
    assert found == set(acknowledged)
    events = await store.events(0, 1000)
    assert [e.seq for e in events] == list(range(1, 121)), "nothing was done twice"


async def test_a_read_only_database_is_recognised_and_read(breakable: PostgresServer, behind: Any) -> None:
    store, _ = behind
    await store.run(putting(instance()))
    breakable.sql("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    try:
        with mock.patch.object(postgres_link, "RETRY_FOR_S", 0.3):
            words = "the database is read-only; nothing was changed, try again"
            while True:  # until the reload arrives
                with contextlib.suppress(AssertionError, pytest.fail.Exception):
                    assert await refusal(store.check()) == words
                    break
            assert await refusal(store.run(renaming("inst_1", lambda n: "x"))) == words
        assert await name_of(store) == ""
    finally:
        breakable.sql(
            "SET default_transaction_read_only = off", "ALTER SYSTEM RESET default_transaction_read_only",
            "SELECT pg_reload_conf()",
        )  # fmt: skip
    assert await eventually(lambda: store.run(renaming("inst_1", lambda n: n + "y"))) == "y"
    await store.check()


async def test_fail_over_to_a_standby(stores: Stores) -> None:
    """Two servers in the URL. The old primary comes back as a standby and is not used, not even for reads."""
    with PostgresServer(listen=True) as one:
        url = one.create("plane")
        with contextlib.closing(one.standby().start()) as two:
            pair = url.replace(f":{one.port}/", f":{one.port},127.0.0.1:{two.port}/")
            store = await stores.on(pair)
            await store.run(putting(instance()))
            await until(lambda: two.sql("SELECT pg_last_wal_replay_lsn()") >= one.sql("SELECT pg_current_wal_lsn()"))
            one.demote()
            with mock.patch.object(postgres_link, "RETRY_FOR_S", 0.3):
                assert (await refusal(store.check())).startswith("the database is read-only")
                assert (await refusal(store.get(ALL, Instance, "inst_1"))).startswith("the database is read-only")
                with pytest.raises(SchemaError, match="read-only: a standby"):
                    await migrate(pair, SystemIds(), lambda: "d")
            two.promote()
            assert await eventually(lambda: store.run(renaming("inst_1", lambda n: n + "x"))) == "x"
            assert await name_of(store) == "x"
            await store.check()
            await store.close()


async def test_a_network_that_stalls(behind: Any) -> None:
    store, proxy = behind
    await store.run(putting(instance()))
    await asyncio.gather(*(name_of(store) for _ in range(4)))
    patience = {"STATEMENT_TIMEOUT_S": 0.5, "CONNECT_TIMEOUT_S": 0.5, "SETTLE_S": 0.2}
    with mock.patch.multiple(postgres_link, **patience), mock.patch.object(postgres_writer, "BATCH_TIMEOUT_S", 0.5):
        store._readers._timeout_s = 0.5
        proxy.stalled = True
        began = time.monotonic()
        asked = [refusal(store.run(renaming("inst_1", lambda n: "x"))), refusal(name_of(store)), refusal(store.check())]
        for said in await asyncio.gather(*asked):
            assert said.startswith("the database does not answer in time")
        doomed = [asyncio.create_task(name_of(store)) for _ in range(8)]
        await asyncio.sleep(0.05)
        for task in doomed:
            task.cancel()
        assert time.monotonic() - began < 4
        proxy.stalled = False
        assert await eventually(lambda: store.run(renaming("inst_1", lambda n: n + "y"))) == "y"
        assert await eventually(lambda: name_of(store)) == "y"
    async with asyncio.timeout(10):  # the cancelled readers let go of their connections a little later
        while store._readers._idle.qsize() != postgres.READERS:
            await asyncio.sleep(0.02)


async def test_a_slow_database_is_only_slow(behind: Any) -> None:
    """Every answer 200 ms late: all is done once, and a lease of nine seconds is renewed in time."""
    store, proxy = behind
    await store.run(putting(instance(), Account("acct_a", "a", "USD", 9, START)))
    proxy.delay_s = 0.2
    began = time.monotonic()
    answers = await asyncio.gather(*(store.run(renaming("inst_1", lambda n: n + "x")) for _ in range(40)))
    assert answers == ["x" * n for n in range(1, 41)]
    assert time.monotonic() - began < 6, "two batches"
    assert await name_of(store) == "x" * 40


async def test_a_process_frozen_inside_a_transaction_frees_its_locks(stores: Stores) -> None:
    """Its session is ended by the server; the others go on, and it itself runs the batch again."""
    with mock.patch.dict(postgres_link.SETTINGS, {"idle_in_transaction_session_timeout": "300ms"}):
        frozen, other = await stores.fresh(2)
        await frozen.run(putting(instance()))
        real = frozen._batches._write
        freezes = [1.0]

        async def slow(*args: Any) -> Any:
            commit = await real(*args)  # with the event lock held
            if freezes:
                await asyncio.sleep(freezes.pop())
            return commit

        with mock.patch.object(frozen._batches, "_write", slow):
            thawing = asyncio.create_task(frozen.run(renaming("inst_1", lambda n: n + "a")))
            await asyncio.sleep(0.05)
            began = time.monotonic()
            await other.run(renaming("inst_2", lambda n: "b"))
            assert time.monotonic() - began < 0.9
            assert await thawing == "a"
    assert [e.seq for e in await other.events(0, 10)] == [1, 2, 3]


async def test_the_listener_connects_again(behind: Any, stores: Stores) -> None:
    woken = []
    direct, proxy = behind
    url = direct._batches._open.args[0]
    store = await stores.on(url, woken=lambda: woken.append(1))
    await store.run(putting(instance()))
    await until(lambda: woken)
    woken.clear()
    proxy.cut()
    await until(lambda: woken)  # for what it may have missed
    woken.clear()
    await direct.run(renaming("inst_1", lambda n: "x"))
    await until(lambda: woken)


@pytest.mark.skipif(os.geteuid() != 0, reason="a disk of its own needs root")
async def test_a_full_disk(stores: Stores) -> None:
    server_folder = server().folder
    with small_disk(24) as disk:
        space = disk / "space"
        space.mkdir()
        owner = server_folder.stat()
        os.chown(space, owner.st_uid, owner.st_gid)
        name = f"full{os.getpid()}"
        server().sql(f"CREATE TABLESPACE {name} LOCATION '{space}'")
        try:
            store = await stores.on(server().create(name, f"TEMPLATE template0 TABLESPACE {name}"))
            await store.run(putting(instance()))
            ballast = fill(disk)
            big = [
                instance(f"inst_big{n}", labels={f"l{k}": os.urandom(90).hex() for k in range(60)}) for n in range(40)
            ]
            said = await refusal(store.run(putting(*big)))
            assert said == "the database's disk is full; nothing was changed, try again"
            assert await refusal(store.check()) == said
            assert await name_of(store) == ""
            assert len(await store.messages(ALL, InstanceQuery(), "", 100)) == 1
            ballast.unlink()
            await store.run(putting(*big))
            await store.check()
            await store.close()
        finally:
            server().sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            server().sql(f"DROP TABLESPACE IF EXISTS {name}")


# Cost


@pytest.mark.parametrize(
    ("what", "expected"), [("claim", 6), ("renew", 4), ("step", 7), ("create", 7)]
)  # fmt: skip
async def test_round_trips_of_a_batch(stores: Stores, what: str, expected: int) -> None:
    """They are what a commit costs besides the disk; more of them want a reason."""
    store = await stores.fresh()
    account = Account("acct_a", "a", "USD", 9, START)
    item = WorkItem("inst_1", START)
    budget = Budget("budget_1", "acct_a", "b", 10**9, "USD", Period.TOTAL, 0, START)
    await store.run(putting(account, instance(), operation(), budget, item))

    def claim(tx: Transaction) -> None:
        for due in tx.due():
            tx.put(due.claimed("me", tx.now, 1))

    def renew(tx: Transaction) -> None:
        tx.put(item.renewed(tx.now, 1))

    def step(tx: Transaction) -> None:
        tx.put(replace(instance(), name="moved"))
        tx.put(replace(operation(), cancel_requested=True))
        tx.put(budget.spend(1))
        tx.put(item.released(tx.now))

    def create(tx: Transaction) -> None:
        assert tx.count_live("acct_a") == 1
        for row in (instance("inst_2"), operation("op-2"), WorkItem("inst_2", START), budget.held(1)):
            tx.put(row)
        tx.put(IdempotencyRecord("idem", "acct_a", "f", "op-2", tx.now))

    here: dict[str, tuple[list[Load], Callable[[Transaction], None]]] = {
        "claim": ([Due(10)], claim),
        "renew": ([Get(WorkItem, "inst_1")], renew),
        "step": (
            [Get(WorkItem, "inst_1"), Get(Instance, "inst_1"), Where(Operation, "instance_id", "inst_1"),
             Where(Budget, "account_id", "acct_a")],
            step,
        ),
        "create": (
            [Get(Account, "acct_a"), CountLive("acct_a"), Where(Budget, "account_id", "acct_a"),
             Get(IdempotencyRecord, "idem")],
            create,
        ),
    }  # fmt: skip
    loads, decide = here[what]
    trips = 0
    database = store._batches._database

    def counted(name: str) -> Any:
        real = getattr(database, name)

        async def call(*args: Any, **how: Any) -> Any:
            nonlocal trips
            trips += 1
            return await real(*args, **how)

        return mock.patch.object(type(database), name, lambda _, *args, **how: call(*args, **how))

    with counted("execute"), counted("fetch"), counted("fetchval"), counted("executemany"):
        await store.run(UnitOfWork(ALL, loads, decide))
    assert trips == expected
