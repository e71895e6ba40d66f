"""The hub on the memory store: order, coalescing, resuming, windows, ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from gpuplane.v1 import operation_service_pb2, watch_pb2

from controlplane.adapters.bus.memory import MemoryBus
from controlplane.adapters.secrets import MasterKeySecrets
from controlplane.adapters.store.memory import MemoryDisk, MemoryStore
from controlplane.domain.account import ApiKey
from controlplane.domain.errors import InvalidArgument, NotFound, OutOfRange
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation, OperationState
from controlplane.domain.principal import ALL, SCOPES, Principal
from controlplane.domain.state import State
from controlplane.ports.bus import Topic
from controlplane.ports.store import Get, UnitOfWork
from controlplane.usecases import backlog, hub, subscriptions, watch
from controlplane.usecases.backlog import Recent, Shared
from controlplane.usecases.hub import EventHub
from controlplane.usecases.keys import KeyAuthenticator
from controlplane.usecases.tokens import Tokens
from controlplane.wire import event as stream_messages
from tests.support.fakes import SECOND, START, FakeClock, FakeIds, instance, operation

ALICE = Principal("acct_a", "key_a", frozenset(SCOPES))
BOB = Principal("acct_b", "key_b", frozenset(SCOPES))
Type = watch_pb2.InstanceEventType


@dataclass
class World:
    store: MemoryStore
    hub: EventHub
    tokens: Tokens
    clock: FakeClock

    async def put(self, *rows: Any) -> None:
        """Commit rows."""

        def decide(tx: Any) -> None:
            for row in rows:
                tx.put(row)

        await self.store.run(UnitOfWork(ALL, [Get(type(row), row.id) for row in rows], decide))

    async def rename(self, id: str, name: str) -> None:
        """One change of an instance."""
        row = await self.store.get(ALL, Instance, id)
        await self.put(replace(row, name=name))

    async def newest(self) -> int:
        return (await self.store.window()).newest

    def all(self, token: str = "", caller: Principal = ALICE) -> Reader:
        return Reader(watch.watch_instances(self.hub, caller, token))

    def one(self, id: str, token: str = "", caller: Principal = ALICE) -> Reader:
        return Reader(watch.watch_instance(self.hub, self.store, caller, id, token))

    def operation(self, id: str) -> Reader:
        stream = watch.watch_operation(self.hub, self.store, ALICE, id)
        return Reader(stream, operation_service_pb2.OperationEvent)


class Reader:
    """A stream's messages, parsed."""

    def __init__(self, stream: AsyncIterator[bytes], message: Any = watch_pb2.InstanceEvent) -> None:
        self.stream: Any = stream
        self._message = message

    async def next(self) -> Any:
        async with asyncio.timeout(5):
            return self._message.FromString(await anext(self.stream))

    async def take(self, count: int) -> list[Any]:
        return [await self.next() for _ in range(count)]

    async def rest(self) -> list[Any]:
        found = []
        async with asyncio.timeout(5):
            async for raw in self.stream:
                found.append(self._message.FromString(raw))
        return found

    async def close(self) -> None:
        await self.stream.aclose()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = _world(MemoryDisk())
    await made.hub.start()
    follow = asyncio.create_task(made.hub.run())
    yield made
    follow.cancel()


def _world(disk: MemoryDisk, epoch: str = "epoch") -> World:
    clock, bus = FakeClock(), MemoryBus()
    store = MemoryStore(disk, clock, FakeIds(clock=clock), lambda *_: bus.notify(Topic.EVENTS))
    tokens = Tokens(MasterKeySecrets(bytes(32)), epoch)
    hub = EventHub(store, bus, tokens, stream_messages, KeyAuthenticator(store, clock, ""))
    return World(store, hub, tokens, clock)


def _seq(world: World, event: Any) -> int:
    return world.tokens.read_resume(event.resume_token, "acct_a")


async def test_the_first_message_is_a_bookmark_at_the_present(world: World) -> None:
    await world.put(instance("inst_1"))
    reader = world.all()
    first = await reader.next()
    assert first.type == Type.INSTANCE_EVENT_TYPE_BOOKMARK
    assert _seq(world, first) == await world.newest()
    await world.rename("inst_1", "x")
    event = await reader.next()
    assert (event.type, event.instance.name, event.coalesced) == (Type.INSTANCE_EVENT_TYPE_CHANGED, "x", False)
    assert event.event_id.startswith("evt_")
    await reader.close()
    assert world.hub.streams == 0


async def test_a_reader_that_keeps_up_gets_every_event_in_order(world: World) -> None:
    ids = [f"inst_{n:02}" for n in range(16)]
    await world.put(*(instance(id) for id in ids))
    reader = world.all()
    await reader.next()

    async def write(id: str) -> None:
        for n in range(60):
            await world.rename(id, f"{id} {n}")

    writing = asyncio.gather(*(write(id) for id in ids))
    events = await reader.take(16 * 60)
    await writing
    assert not any(event.coalesced for event in events)
    assert [_seq(world, event) for event in events] == list(range(_seq(world, events[0]), _seq(world, events[-1]) + 1))
    for id in ids:
        own = [event.instance for event in events if event.instance.id == id]
        assert [i.name for i in own] == [f"{id} {n}" for n in range(60)]
        assert [i.revision for i in own] == list(range(2, 62))
    assert len({event.event_id for event in events}) == len(events)


async def test_a_slow_reader_gets_the_newest_state_of_every_instance(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "MAX_PENDING", 20)
    ids = [f"inst_{n}" for n in range(5)]
    await world.put(*(instance(id) for id in ids))
    reader = world.all()
    await reader.next()
    before = await world.newest()
    for n in range(50):
        for id in ids:
            await world.rename(id, str(n))
        await world.hub.pump()
    (subscription,) = world.hub._open
    assert len(subscription._queue) <= 40, "the queue is bounded however long the reader sleeps"
    seen: dict[str, list[Any]] = {id: [] for id in ids}
    tokens = []
    while any(not events or events[-1].instance.name != "49" for events in seen.values()):
        event = await reader.next()
        seen[event.instance.id].append(event)
        tokens.append(event.resume_token)
    delivered: dict[str, int] = dict.fromkeys(ids, 0)
    for events in seen.values():
        revisions = [event.instance.revision for event in events]
        assert revisions == sorted(set(revisions))
        for previous, event in zip([None, *events], events, strict=False):
            skipped = event.instance.revision - (previous.instance.revision if previous else 1) > 1
            assert not skipped or event.coalesced, "what was left out is said"
    # No token passes an event that was not delivered: resuming with any of them ends in the same states.
    for token in tokens:
        assert world.tokens.read_resume(token, "acct_a") >= before
        again = world.all(token)
        await again.next()
        names = {event.instance.id: event.instance.name for event in await _drain(again)}
        missing = [id for id in ids if names.get(id, "49") != "49"]
        assert not missing
        delivered |= dict.fromkeys(names, 1)
    assert tokens == sorted(tokens, key=lambda token: world.tokens.read_resume(token, "acct_a")), "tokens never fall"


async def _drain(reader: Reader) -> list[Any]:
    """What is queued now."""
    found = []
    try:
        while True:
            async with asyncio.timeout(0.02):
                found.append(reader._message.FromString(await anext(reader.stream)))
    except TimeoutError:
        return found


async def test_the_token_of_a_coalesced_stream_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each single message, a new stream from its token delivers the newest of everything not seen yet."""
    monkeypatch.setattr(subscriptions, "MAX_PENDING", 4)
    await world.put(instance("inst_a"), instance("inst_b"), instance("inst_c"))
    reader = world.all()
    await reader.next()
    for id, name in (
        ("inst_a", "1"),
        ("inst_b", "1"),
        ("inst_a", "2"),
        ("inst_c", "1"),
        ("inst_a", "3"),
        ("inst_b", "2"),
    ):
        await world.rename(id, name)
    await world.hub.pump()
    final = {"inst_a": "3", "inst_b": "2", "inst_c": "1"}
    got: dict[str, str] = {}
    while got != final:
        event = await reader.next()
        got[event.instance.id] = event.instance.name
        resumed = world.all(event.resume_token)
        await resumed.next()
        later = {e.instance.id: e.instance.name for e in await _drain(resumed)}
        assert got | later == final


@pytest.mark.parametrize("remembered", [10_000, 3])
async def test_resuming_from_memory_and_from_the_log(
    world: World, monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    monkeypatch.setattr(world.hub, "_recent", Recent(remembered))
    await world.put(instance("inst_1"), instance("inst_b", "acct_b"))
    reader = world.all()
    token = (await reader.next()).resume_token
    await reader.close()
    for n in range(20):
        await world.rename("inst_1", str(n))
        await world.rename("inst_b", str(n))
    resumed = world.all(token)
    assert (await resumed.next()).resume_token == token, "the first bookmark does not run ahead"
    events = await resumed.take(20)
    assert [event.instance.name for event in events] == [str(n) for n in range(20)]
    half = world.all(events[9].resume_token)
    await half.next()
    assert [event.instance.name for event in await half.take(10)] == [str(n) for n in range(10, 20)]


class CountingStore(MemoryStore):
    """Counts the reads of the log."""

    reads = 0

    async def events(self, after_seq: int, limit: int) -> list[Any]:
        type(self).reads += 1
        await asyncio.sleep(0.001)
        return await super().events(after_seq, limit)


async def test_streams_that_come_back_together_read_the_log_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred streams of an instance each, resuming from before what memory holds."""
    monkeypatch.setattr(world.hub, "_recent", Recent(5))
    monkeypatch.setattr(backlog, "PAGE", 100)
    ids = [f"inst_{n}" for n in range(100)]
    await world.put(*(instance(id) for id in ids))
    token = world.tokens.resume("acct_a", await world.newest())
    for name in ("one", "two"):
        for id in ids:
            await world.rename(id, name)
    await world.hub.pump()
    monkeypatch.setattr(world.store, "__class__", CountingStore)
    readers = [world.one(id, token) for id in ids]
    got = await asyncio.gather(*(reader.take(2) for reader in readers))
    assert {tuple(event.instance.name for event in events) for events in got} == {("one", "two")}
    assert CountingStore.reads <= 4
    await asyncio.gather(*(reader.close() for reader in readers))


async def test_a_replay_that_retention_overtakes_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.put(instance("inst_1"))
    token = world.tokens.resume("acct_a", await world.newest())
    for n in range(20):
        await world.rename("inst_1", str(n))
    await world.hub.pump()
    monkeypatch.setattr(world.hub, "_recent", Recent(5))
    after = await world.hub.resume_point("acct_a", token)
    world.clock.advance(100)
    await world.store.expire(world.clock.now(), 3, 1000)
    subscription = await world.hub.subscribe(ALICE, "", after)
    assert subscription.ended is not None
    assert subscription.ended[0] == "RESYNC"
    world.hub.unsubscribe(subscription)


async def test_shared_work_is_never_older_than_the_asking() -> None:
    runs = 0

    async def work() -> int:
        nonlocal runs
        runs += 1
        mine = runs
        await asyncio.sleep(0.01)
        return mine

    shared = Shared(work)
    first = [asyncio.create_task(shared()) for _ in range(5)]
    await asyncio.sleep(0.005)
    later = [asyncio.create_task(shared()) for _ in range(5)]
    await asyncio.sleep(0)
    first[0].cancel()
    later[0].cancel()
    assert await asyncio.gather(*first[1:]) == [1] * 4
    assert await asyncio.gather(*later[1:]) == [2] * 4, "one that had begun before they asked will not do"


async def test_no_gap_between_subscribing_and_pumping(world: World) -> None:
    """Streams open at every moment of a busy log; each gets an unbroken tail of it."""
    await world.put(instance("inst_1"))

    async def write() -> None:
        for n in range(300):
            await world.rename("inst_1", str(n))

    async def read(after: int) -> None:
        for _ in range(after):
            await asyncio.sleep(0)
        reader = world.all(world.tokens.resume("acct_a", await world.newest()))
        start = _seq(world, await reader.next())
        sequences = []
        while True:
            event = await reader.next()
            sequences.append(_seq(world, event))
            if event.instance.name == "299":
                break
        assert sequences == list(range(start + 1, start + 1 + len(sequences)))

    await asyncio.gather(write(), *(read(after) for after in range(0, 400, 7)))


async def test_tokens_outside_the_window(world: World) -> None:
    await world.put(instance("inst_1"))
    token = world.tokens.resume("acct_a", await world.newest())
    for n in range(10):
        await world.rename("inst_1", str(n))
    world.clock.advance(100)
    await world.store.expire(world.clock.now(), 3, 1000)
    window = await world.store.window()
    assert window.newest - window.oldest == 2
    with pytest.raises(OutOfRange) as refused:
        await world.all(token).next()
    assert refused.value.reason == "RESUME_TOKEN_TOO_OLD"
    assert refused.value.metadata == {
        "oldest": str(window.oldest),
        "got": str(world.tokens.read_resume(token, "acct_a")),
    }
    with pytest.raises(OutOfRange):
        await world.one("inst_1", token).next()
    edge = world.all(world.tokens.resume("acct_a", window.oldest - 1))
    await edge.next()
    assert len(await edge.take(3)) == 3, "the oldest token that can be served"
    with pytest.raises(OutOfRange):
        await world.all(world.tokens.resume("acct_a", window.newest + 1)).next()


async def test_tokens_of_others(world: World) -> None:
    await world.put(instance("inst_1"))
    for token in ("x", "", world.tokens.resume("acct_b", 1)[:-2], world.tokens.page("q", "1")):
        if token:
            with pytest.raises(InvalidArgument) as refused:
                await world.all(token).next()
            assert refused.value.reason == "INVALID_RESUME_TOKEN"
    with pytest.raises(InvalidArgument):
        await world.all(world.tokens.resume("acct_b", 1)).next()
    other_epoch = Tokens(MasterKeySecrets(bytes(32)), "restored").resume("acct_a", 1)
    with pytest.raises(OutOfRange):
        await world.all(other_epoch).next()
    other_key = Tokens(MasterKeySecrets(b"k" * 32), "epoch").resume("acct_a", 1)
    with pytest.raises(InvalidArgument):
        await world.all(other_key).next()


async def test_a_resume_after_a_restart(world: World) -> None:
    """The next life of the server serves tokens of the last one from the log."""
    disk = MemoryDisk()
    first = _world(disk)
    await first.hub.start()
    await first.put(instance("inst_1"))
    token = first.tokens.resume("acct_a", await first.newest())
    for n in range(5):
        await first.rename("inst_1", str(n))
    second = _world(disk)
    await second.hub.start()
    reader = second.all(token)
    await reader.next()
    assert [event.instance.name for event in await reader.take(5)] == ["0", "1", "2", "3", "4"]


async def test_bookmarks_move_the_resume_point(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BOOKMARK_S", 0.05)
    await world.put(instance("inst_1"), instance("inst_b", "acct_b"))
    reader = world.all()
    first = _seq(world, await reader.next())
    await world.rename("inst_b", "busy")  # another account's event: nothing for this stream
    await world.hub.pump()
    tokens = [_seq(world, await reader.next()) for _ in range(3)]
    assert tokens[-1] == first + 1
    event = await _until(reader, Type.INSTANCE_EVENT_TYPE_BOOKMARK)
    assert not event.HasField("instance")


async def _until(reader: Reader, type: int) -> Any:
    while (event := await reader.next()).type != type:
        pass
    return event


async def test_one_instance_from_its_snapshot_to_its_end(world: World) -> None:
    await world.put(instance("inst_1"), instance("inst_2"))
    reader = world.one("inst_1")
    snapshot = await reader.next()
    assert (snapshot.type, snapshot.instance.revision) == (Type.INSTANCE_EVENT_TYPE_SNAPSHOT, 1)
    await world.rename("inst_2", "other")
    await world.rename("inst_1", "mine")
    assert (await reader.next()).instance.name == "mine"
    row = await world.store.get(ALL, Instance, "inst_1")
    ended = replace(row, state=State.TERMINATED, end_at=START + SECOND, label="gp-d-1-1")
    await world.put(ended)
    event = await reader.next()
    assert event.instance.state == 7
    await world.put(replace(ended, gone_at=START + 2 * SECOND))
    *changes, end = await reader.rest()
    assert [change.instance.HasField("gone_time") for change in changes] == [True]
    assert end.type == Type.INSTANCE_EVENT_TYPE_END
    assert end.end.reason == watch_pb2.STREAM_END_REASON_DONE
    assert world.hub.streams == 0
    again = await world.one("inst_1").rest()
    assert [message.type for message in again] == [Type.INSTANCE_EVENT_TYPE_SNAPSHOT, Type.INSTANCE_EVENT_TYPE_END]
    resumed = await world.one("inst_1", end.resume_token).rest()
    assert [message.type for message in resumed] == [Type.INSTANCE_EVENT_TYPE_END]
    missed = await world.one("inst_1", snapshot.resume_token).rest()
    assert [m.instance.name for m in missed[:-1]] == ["mine", "mine", "mine"]
    assert missed[-1].end.reason == watch_pb2.STREAM_END_REASON_DONE


async def test_a_snapshot_is_not_followed_by_what_it_holds(world: World) -> None:
    """Streams of one instance open while it changes: revisions rise by one from the snapshot on."""
    await world.put(instance("inst_1"))

    async def write() -> None:
        for n in range(100):
            await world.rename("inst_1", str(n))

    async def read(after: int) -> None:
        for _ in range(after):
            await asyncio.sleep(0)
        reader = world.one("inst_1")
        revisions = [(await reader.next()).instance.revision]
        while revisions[-1] < 101:
            revisions.append((await reader.next()).instance.revision)
        assert revisions == list(range(revisions[0], 102))

    await asyncio.gather(write(), *(read(after) for after in range(0, 300, 11)))


async def test_an_operator_watches_and_resumes_any_instance(world: World) -> None:
    operator = Principal("operator", "operator", frozenset(SCOPES), operator=True)
    await world.put(instance("inst_1"))
    reader = world.one("inst_1", caller=operator)
    token = (await reader.next()).resume_token
    await world.rename("inst_1", "x")
    event = await reader.next()
    for resumed, names in ((token, ["x", "y"]), (event.resume_token, ["y"])):
        await world.rename("inst_1", "y")
        again = world.one("inst_1", resumed, caller=operator)
        assert [(await again.next()).instance.name for _ in names] == names


async def test_what_does_not_exist_for_the_caller(world: World) -> None:
    await world.put(instance("inst_1"), operation("op-1"))
    for stream in (world.one("inst_1", caller=BOB), world.one("inst_none")):
        with pytest.raises(NotFound):
            await stream.next()
    with pytest.raises(NotFound):
        await anext(watch.watch_operation(world.hub, world.store, BOB, "op-1"))
    assert world.hub.streams == 0


async def test_an_operation_to_its_end(world: World) -> None:
    await world.put(instance("inst_1"), operation("op-1"))
    reader = world.operation("op-1")
    assert (await reader.next()).operation.state == 1
    row = await world.store.get(ALL, Operation, "op-1")
    await world.put(replace(row, state=OperationState.RUNNING))
    assert (await reader.next()).operation.state == 2
    row = await world.store.get(ALL, Operation, "op-1")
    await world.put(row.finish(OperationState.SUCCEEDED, START))
    last, end = await reader.rest()
    assert last.operation.state == 3
    assert end.end.reason == watch_pb2.STREAM_END_REASON_DONE
    done, end = await world.operation("op-1").rest()
    assert done.operation.state == 3
    assert end.end.reason == watch_pb2.STREAM_END_REASON_DONE


@pytest.mark.parametrize("kind", ["all", "one", "operation"])
async def test_ends_in_band(world: World, kind: str) -> None:
    await world.put(instance("inst_1"), operation("op-1"))

    def readers() -> Reader:
        return {"all": world.all, "one": lambda: world.one("inst_1"), "operation": lambda: world.operation("op-1")}[
            kind
        ]()

    reader = readers()
    await reader.next()
    world.hub.stop()
    (end,) = await reader.rest()
    assert end.end.reason == watch_pb2.STREAM_END_REASON_SERVER_STOPPING
    late = await readers().rest()
    assert late[-1].end.reason == watch_pb2.STREAM_END_REASON_SERVER_STOPPING, "a stream opened while it stops"


@pytest.mark.parametrize("kind", ["all", "one", "operation"])
async def test_a_revoked_key_ends_its_streams_only(world: World, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(hub, "KEY_CHECK_S", 0.01)
    keys = [ApiKey(id, "acct_a", "k", "gp", id * 8, tuple(SCOPES), START) for id in ("key_a", "key_other")]
    await world.put(instance("inst_1"), operation("op-1"), *keys)
    opened = {"all": world.all, "one": lambda: world.one("inst_1"), "operation": lambda: world.operation("op-1")}
    reader = opened[kind]()
    other = world.all(caller=replace(ALICE, key_id="key_other"))
    await reader.next()
    await other.next()
    checking = asyncio.create_task(world.hub.watch_keys())
    await world.rename("inst_1", "last words")
    await world.hub.pump()
    await world.put(replace(keys[0], revoked_at=START))
    *_, end = await reader.rest()
    assert end.end.reason == watch_pb2.STREAM_END_REASON_KEY_REVOKED
    assert (await other.next()).instance.name == "last words"
    assert world.hub.streams == 1
    checking.cancel()


async def test_waiting_for_an_operation(world: World) -> None:
    await world.put(instance("inst_1"), operation("op-1"))
    waiting = asyncio.create_task(watch.wait_operation(world.hub, world.store, ALICE, "op-1", 5))
    await asyncio.sleep(0.01)
    row = await world.store.get(ALL, Operation, "op-1")
    await world.put(row.finish(OperationState.SUCCEEDED, START))
    from gpuplane.v1.operation_pb2 import Operation as Message

    async with asyncio.timeout(1):
        assert Message.FromString(await waiting).state == 3
    await world.put(operation("op-2"))
    raw = await watch.wait_operation(world.hub, world.store, ALICE, "op-2", 0.05)
    assert Message.FromString(raw).state == 1, "as it is when time ran out"
    assert world.hub.streams == 0
