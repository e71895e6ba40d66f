"""What lies between a read and the tables: SQLite's cache of messages, PostgreSQL's gathered statements."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from gpuplane.v1 import instance_pb2

from controlplane.adapters.store.gather import FLIGHTS, PATIENCE_S, GatheredReads
from controlplane.adapters.store.message_cache import ENTRY_BYTES, MessageCache
from controlplane.adapters.store.schema import migrate
from controlplane.adapters.store.sqlite import SqliteStore
from controlplane.adapters.store.statements import CODECS
from controlplane.adapters.store.tables import BY_RECORD
from controlplane.adapters.system import SystemIds
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation, OperationState
from controlplane.domain.principal import ALL, Scope
from controlplane.ports.store import Get, InstanceQuery, OperationQuery, Transaction, UnitOfWork
from tests.support.fakes import START, FakeClock, FakeIds, instance, operation

A, B = Scope("acct_a"), Scope("acct_b")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    await migrate(f"sqlite:///{tmp_path / 'plane.db'}", SystemIds(), lambda: "test")
    clock = FakeClock()
    made = SqliteStore(tmp_path / "plane.db", clock, FakeIds(1, clock))
    yield made
    await made.close()


async def put(store: SqliteStore, *rows: Any) -> None:
    def decide(tx: Transaction) -> None:
        for row in rows:
            tx.put(row)

    await store.run(UnitOfWork(ALL, [Get(type(row), row.id) for row in rows], decide))


async def name_of(store: SqliteStore, scope: Scope = A) -> str | None:
    message = await store.message(scope, Instance, "inst_1")
    return None if message is None else instance_pb2.Instance.FromString(message).name


async def ids_of(store: SqliteStore, scope: Scope = A) -> list[str]:
    return [id for id, _ in await store.messages(scope, InstanceQuery(), "", 10)]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_reader_beside_a_commit_leaves_nothing_old(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The writer stands still on either side of its COMMIT while the loop fills the cache."""
    await put(store, instance(name="old"))
    for cache in store._caches.values():
        cache.clear()
    there, go = threading.Event(), threading.Event()

    def stand() -> None:
        there.set()
        assert go.wait(10)

    commit, write = store._transact, store._write

    def writing(*args: Any) -> None:
        write(*args)
        stand()

    def committing(units: Any) -> Any:
        outcomes = commit(units)
        stand()
        return outcomes

    monkeypatch.setattr(store, *(("_write", writing) if moment == "before" else ("_transact", committing)))
    writer = asyncio.create_task(put(store, instance(name="new"), instance(id="inst_2")))
    await asyncio.to_thread(there.wait, 10)
    after = moment == "after"
    assert await name_of(store) == ("new" if after else "old")
    assert await ids_of(store) == (["inst_2", "inst_1"] if after else ["inst_1"])
    go.set()
    await writer
    assert await name_of(store) == "new"
    assert await ids_of(store) == ["inst_2", "inst_1"]


async def test_cached_rows_and_pages_are_their_owners(store: SqliteStore) -> None:
    await put(store, instance(name="mine"), instance(id="inst_2", account_id="acct_b"))
    for _ in range(2):
        assert await name_of(store) == "mine"
        assert await name_of(store, B) is None
        assert await store.message(ALL, Operation, "inst_1") is None
        assert (await ids_of(store), await ids_of(store, B)) == (["inst_1"], ["inst_2"])
        assert await ids_of(store, ALL) == ["inst_2", "inst_1"]


async def test_a_row_made_and_changed_in_one_batch_turns_the_pages(store: SqliteStore) -> None:
    assert await ids_of(store) == []
    await asyncio.gather(*(put(store, instance(name=name)) for name in ("a", "b", "c")))
    assert await ids_of(store) == ["inst_1"]


async def test_expired_operations_are_forgotten(store: SqliteStore) -> None:
    await put(store, operation(state=OperationState.SUCCEEDED, done_at=START))
    assert await store.message(A, Operation, "op-1")
    assert len(await store.messages(A, OperationQuery(), "", 10)) == 1
    await store.expire(START + 1, 1, 10)
    assert await store.message(A, Operation, "op-1") is None
    assert await store.messages(A, OperationQuery(), "", 10) == []


async def test_what_another_program_wrote_is_seen_after_the_next_look(store: SqliteStore, tmp_path: Path) -> None:
    await put(store, instance(name="old"))
    assert await name_of(store) == "old"
    message = instance_pb2.Instance(id="inst_1", name="new").SerializeToString()
    with sqlite3.connect(tmp_path / "plane.db") as other:
        other.execute("UPDATE instances SET message = ?", (message,))
    await store.check()
    assert await name_of(store) == "new"


def test_the_cache_keeps_what_is_asked_for_within_its_bound() -> None:
    cache = MessageCache(20 * (ENTRY_BYTES + 10))
    cache.put("hot", ("acct_a", b"x" * 10))
    for n in range(1000):
        cache.put(str(n), ("acct_a", b"x" * 10))
        assert cache.get("hot") == ("acct_a", b"x" * 10)
    assert sum(cache.get(str(n)) is not None for n in range(1000)) <= 20
    cache.drop("hot")
    assert cache.get("hot") is None
    assert cache.all(["999", "hot"]) is None


class Slow:
    """A database that answers when told."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.answers: list[asyncio.Future[None]] = []

    async def fetch(self, ids: Sequence[str]) -> dict[str, str]:
        self.asked.append(sorted(ids))
        self.answers.append(asyncio.get_running_loop().create_future())
        await self.answers[-1]
        return {id: id.upper() for id in ids if id != "none"}


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_reads_of_one_moment_share_a_statement_and_later_ones_the_next() -> None:
    slow = Slow()
    reads = GatheredReads(slow.fetch)
    first = [asyncio.create_task(reads.get(id)) for id in ("a", "b", "a", "none")]
    await turn()
    later = [asyncio.create_task(reads.get(id)) for id in ("a", "c", "d")]
    await turn()
    assert slow.asked == [["a", "b", "none"]]
    later[2].cancel()
    slow.answers[0].set_result(None)
    assert await asyncio.gather(*first) == ["A", "B", "A", None]
    await turn()
    assert slow.asked[1:] == [["a", "c"]]
    slow.answers[1].set_result(None)
    assert await asyncio.gather(*later[:2]) == ["A", "C"]


async def test_a_failed_statement_fails_its_own_callers_only() -> None:
    slow = Slow()
    reads = GatheredReads(slow.fetch)
    failing = asyncio.create_task(reads.get("a"))
    await turn()
    waiting = asyncio.create_task(reads.get("b"))
    slow.answers[0].set_exception(OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        await failing
    await turn()
    slow.answers[1].set_result(None)
    assert await waiting == "B"


async def test_a_statement_that_hangs_is_overtaken() -> None:
    slow = Slow()
    reads = GatheredReads(slow.fetch)
    tasks = []
    for n in range(FLIGHTS + 1):
        tasks.append(asyncio.create_task(reads.get(str(n))))
        await asyncio.sleep(PATIENCE_S * 1.5)
    assert slow.asked == [[str(n)] for n in range(FLIGHTS)]
    for answer in slow.answers:
        answer.set_result(None)
    await turn()
    slow.answers[-1].set_result(None)
    assert await asyncio.gather(*tasks) == [str(n) for n in range(FLIGHTS + 1)]


@pytest.mark.parametrize("record", BY_RECORD, ids=lambda record: record.__name__)
def test_a_table_s_columns_are_its_record_s_fields_in_their_order(record: type[Any]) -> None:
    columns = [column.name for column in BY_RECORD[record].columns]
    assert tuple(name for name in columns if name not in ("message", "message_version")) == CODECS[record].columns


async def test_a_read_between_a_commit_and_its_cache_sees_the_commit(store: SqliteStore) -> None:
    """A watcher that has read the events of a commit must not be shown the row as it was before."""
    await put(store, instance())
    before = await store.message(A, Instance, "inst_1")
    messages = list[bytes | None]()
    transact = store._transact

    def watched(units: Any) -> Any:
        done = transact(units)
        reading = asyncio.run_coroutine_threadsafe(store.message(A, Instance, "inst_1"), loop)
        messages.append(reading.result(5))
        return done

    loop = asyncio.get_running_loop()
    store._transact = watched  # type: ignore[method-assign]
    await put(store, instance(name="renamed"))
    (shown,) = messages
    assert shown is not None
    assert shown != before
    assert instance_pb2.Instance.FromString(shown).name == "renamed"
