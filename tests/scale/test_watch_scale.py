"""Thousands of streams on a real plane, opened at once by one client of its servers' own sockets.

Every stream follows an instance of its own and checks that revisions rise by one. Streams that the client leaves
unread for a while follow the whole account: they must say where they left something out, and end with the newest.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from gpuplane.v1 import instance_pb2, instance_service_pb2, watch_pb2

from controlplane.adapters.store.postgres import PostgresStore
from controlplane.adapters.store.sqlite import SqliteStore
from controlplane.adapters.system import SystemClock, SystemIds
from controlplane.domain.billing import BillingPolicy
from controlplane.domain.ids import INSTANCE, encode
from controlplane.domain.instance import Instance, Wish
from controlplane.domain.principal import ALL
from controlplane.domain.state import State
from controlplane.ports.store import Store, Transaction, UnitOfWork
from tests.support.plane import Plane, new_plane
from tests.support.postgres import PostgresServer

WRITERS = 16
CONNECTIONS = 4  # per server; one alone would make its window the test's subject
ATTEMPT_S = 120.0
WATCH = "/gpuplane.v1.Instances/WatchInstance"
WATCH_ALL = "/gpuplane.v1.Instances/WatchInstances"
UPDATE = "/gpuplane.v1.Instances/UpdateInstance"
Type = watch_pb2.InstanceEventType


class Client:
    """Connections to every server of a plane."""

    def __init__(self, sockets: Sequence[Path], key: str) -> None:
        options = (("grpc.use_local_subchannel_pool", 1),)
        self.channels = [grpc.aio.insecure_channel(f"unix:{s}", options) for s in sockets for _ in range(CONNECTIONS)]
        # A client that leaves a stream unread still takes a window's worth; by itself gRPC makes that megabytes.
        narrow = (*options, ("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))
        self.narrow = grpc.aio.insecure_channel(f"unix:{sockets[0]}", narrow)
        self._metadata = (("authorization", f"Bearer {key}"),)

    def watch(self, number: int, path: str, request: bytes) -> Any:
        """A stream of serialized messages."""
        channel = self.narrow if number < 0 else self.channels[number % len(self.channels)]
        return channel.unary_stream(path)(request, metadata=self._metadata)

    async def rename(self, number: int, id: str, name: str) -> int:
        """Change an instance; its new revision."""
        request = instance_service_pb2.UpdateInstanceRequest(id=id, name=name).SerializeToString()
        call = self.channels[number % len(self.channels)].unary_unary(UPDATE)
        raw = await call(request, metadata=self._metadata, timeout=60)
        return int(instance_pb2.Instance.FromString(raw).revision)

    async def close(self) -> None:
        """Let go of all."""
        await asyncio.gather(*(channel.close() for channel in (self.narrow, *self.channels)))


class Follower:
    """One stream: what it has seen of every instance, and what it was not told."""

    def __init__(self, client: Client, number: int, id: str = "") -> None:
        self.id = id  # empty: the whole account
        self.revisions: dict[str, int] = {}
        self.coalesced = 0
        self.events = 0
        self.wrong: list[str] = []
        self.opened = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()
        self._client, self._number = client, number
        self._token = ""
        self._task: asyncio.Task[None] | None = None
        self._call: Any = None

    def open(self) -> None:
        """Open the stream, with the last resume token if there is one."""
        if self.id:
            kind: Any = instance_service_pb2.WatchInstanceRequest(id=self.id, resume_token=self._token)
        else:
            kind = instance_service_pb2.WatchInstancesRequest(resume_token=self._token)
        path = WATCH if self.id else WATCH_ALL
        self._call = self._client.watch(self._number, path, kind.SerializeToString())
        self._task = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Cancel the stream."""
        if self._call is not None and self._task is not None:
            self._call.cancel()
            await self._task

    async def _read(self) -> None:
        try:
            while True:
                await self.reading.wait()
                raw = await self._call.read()
                if raw is grpc.aio.EOF:
                    self.wrong.append(f"ended: {self._call}")
                    return
                self._take(watch_pb2.InstanceEvent.FromString(raw))
        except asyncio.CancelledError:
            return
        except grpc.RpcError as error:
            if self._call.cancelled():  # by `close`: a read that was not waiting fails this way
                return
            self.wrong.append(f"failed: {error.code()} {error.details()}")
            self.opened.set()

    def _take(self, event: Any) -> None:
        self._token = event.resume_token
        self.opened.set()
        if event.type == Type.INSTANCE_EVENT_TYPE_END:
            self.wrong.append(f"ended: {event.end.reason}")
        if event.type == Type.INSTANCE_EVENT_TYPE_SNAPSHOT:
            self.revisions[event.instance.id] = event.instance.revision
        if event.type != Type.INSTANCE_EVENT_TYPE_CHANGED:
            return
        row, self.events = event.instance, self.events + 1
        before = self.revisions.get(row.id, 1)
        if event.coalesced:
            self.coalesced += 1
        if row.revision != before + 1 and not (event.coalesced and row.revision > before):
            self.wrong.append(f"{row.id}: {before}, then {row.revision}")
        self.revisions[row.id] = row.revision


class Writers:
    """Changes instances, each writer its own share of them in turn, and knows their newest revisions."""

    def __init__(self, client: Client, ids: Sequence[str]) -> None:
        self.newest: dict[str, int] = {}
        self.written = 0
        self._client, self._ids = client, ids

    async def write(self, seconds: float) -> None:
        """16 writers for so long."""
        began = time.monotonic()
        written = self.written
        await asyncio.gather(*(self._write(n, began + seconds) for n in range(WRITERS)))
        took = time.monotonic() - began
        print(f"  {WRITERS} writers, {took:.0f} s: {(self.written - written) / took:.0f} writes/s")

    async def _write(self, number: int, until: float) -> None:
        mine = self._ids[number::WRITERS]
        turn = self.written
        while time.monotonic() < until:
            # Every second change is of one of the writer's ten busiest: only what changes again can be coalesced.
            id = mine[turn % len(mine)] if turn % 2 else mine[turn // 2 % 10]
            turn += 1
            self.newest[id] = await self._client.rename(number, id, f"name {turn}")
            self.written += 1


async def caught_up(followers: Sequence[Follower], newest: dict[str, int], what: str) -> None:
    """Wait until every stream has seen the newest of what it follows."""
    began = time.monotonic()

    def behind() -> list[Follower]:
        return [
            f for f in followers
            if not f.wrong and any(f.revisions.get(id, 1) < newest.get(id, 1) for id in ([f.id] if f.id else newest))
        ]  # fmt: skip

    while left := behind():
        assert time.monotonic() - began < ATTEMPT_S, f"{len(left)} {what} never saw the newest"
        await asyncio.sleep(0.05)
    print(f"  {what}: {time.monotonic() - began:.2f} s after the last write they had seen everything")


async def opened(followers: Sequence[Follower], what: str) -> None:
    """Open streams at once and wait for the first message of each."""
    began = time.monotonic()
    for follower in followers:
        follower.open()
    async with asyncio.timeout(ATTEMPT_S):
        await asyncio.gather(*(follower.opened.wait() for follower in followers))
    took = time.monotonic() - began
    refused = [follower.wrong for follower in followers if follower.wrong]
    assert not refused, f"{len(refused)} refused, e.g. {refused[0]}"
    print(f"  {what}: {len(followers)} open after {took:.1f} s, {len(followers) / took:.0f}/s, none refused")


def wrong(followers: Sequence[Follower]) -> list[str]:
    """What streams were not told, or were told twice or in a wrong order."""
    return [line for follower in followers for line in follower.wrong]


async def seed(store: Store, account_id: str, count: int) -> list[str]:
    """Running instances without work to do."""

    def put(tx: Transaction) -> list[str]:
        ids = [encode(INSTANCE, tx.ids.uuid7()) for _ in range(500)]
        for id in ids:
            tx.put(
                Instance(
                    id=id, account_id=account_id, create_operation_id="op", wish=Wish(offer_id="o"),
                    billing=BillingPolicy(), currency="USD", created_at=tx.now, updated_at=tx.now, run_at=tx.now,
                    state=State.RUNNING, provider="elsewhere", labels={"team": "scale"}, gpu_type="rtx4090",
                )
            )  # fmt: skip
        return ids

    return [id for _ in range(count // 500) for id in await store.run(UnitOfWork(ALL, [], put))]


@contextlib.asynccontextmanager
async def plane_with(count: int, database: str = "", processes: int = 1) -> AsyncIterator[tuple[Plane, list[str]]]:
    """A plane whose account has so many instances."""
    settings: dict[str, object] = {"local": False, "streams_per_key": 100_000, "processes": processes}
    plane = new_plane(**settings | ({"database": database} if database else {}))
    try:
        await asyncio.to_thread(plane.start)
        plane.stop()
        store: Any
        if database:
            store = PostgresStore(database, SystemIds())
        else:
            store = SqliteStore(plane.state / "gpuplane.db", SystemClock(), SystemIds())
        ids = await seed(store, plane.account_id, count)
        await store.close()
        await asyncio.to_thread(plane.start)
        yield plane, ids
    finally:
        await asyncio.to_thread(plane.close)


def servers_of(plane: Plane) -> list[psutil.Process]:
    """The server processes."""
    main = psutil.Process(plane.pid)
    workers = [p for p in main.children(recursive=True) if "controlplane.bootstrap.worker" in " ".join(p.cmdline())]
    return workers or [main]


async def storm(plane: Plane, ids: list[str], seconds: float, gap_s: float) -> None:
    """Open all, write, leave some unread, cancel all, write, open all again."""
    servers = servers_of(plane)
    client = Client(sorted((plane.state / "run").glob("server-*.sock")), plane.key)
    try:
        print(f"\n{len(ids)} streams, {len(servers)} server process(es)")
        memory, cpu = _memory(servers), _cpu(servers)
        streams = [Follower(client, n, id) for n, id in enumerate(ids)]
        await opened(streams, "at once")
        print(
            f"  memory per stream: {(_memory(servers) - memory) / len(ids) / 1024:.1f} KiB;"
            f" CPU per stream to open: {(_cpu(servers) - cpu) / len(ids) * 1e6:.0f} us"
        )
        whole, unread = Follower(client, 0), [Follower(client, -1 - n) for n in range(3)]
        await opened([whole, *unread], "streams of the whole account")
        for follower in unread:
            follower.reading.clear()
        writers = Writers(client, ids)
        cpu = _cpu(servers)
        await writers.write(seconds)
        await caught_up(streams, writers.newest, "streams that keep up")
        print(f"  server CPU per write: {(_cpu(servers) - cpu) / writers.written * 1e6:.0f} us")
        assert wrong(streams) == []
        assert sum(s.events for s in streams) == writers.written
        assert not any(s.coalesced for s in streams), "streams that keep up get every event"
        await caught_up([whole], writers.newest, "the account's stream that keeps up")
        for follower in unread:
            follower.reading.set()
        await caught_up(unread, writers.newest, "streams left unread")
        assert wrong([whole, *unread]) == []
        print(
            f"  unread streams: {[f.events for f in unread]} messages for {writers.written} changes,"
            f" {[f.coalesced for f in unread]} of them said to stand for several"
        )
        assert all(f.coalesced and f.events < writers.written for f in unread)
        await asyncio.gather(*(follower.close() for follower in (whole, *unread)))
        writing = asyncio.create_task(writers.write(gap_s))
        await asyncio.gather(*(follower.close() for follower in streams))
        await asyncio.sleep(gap_s / 2)
        began = time.monotonic()
        for follower in streams:
            follower.open()
        await writing
        await caught_up(streams, writers.newest, "reopened streams")
        print(f"  the storm: all reopened and level {time.monotonic() - began:.1f} s after it began")
        assert wrong(streams) == []
        assert sum(s.events for s in streams) == writers.written, "nothing missed, nothing twice"
        await asyncio.gather(*(follower.close() for follower in streams))
    finally:
        await client.close()


def _memory(servers: Sequence[psutil.Process]) -> float:
    return float(sum(server.memory_info().rss for server in servers))


def _cpu(servers: Sequence[psutil.Process]) -> float:
    return float(sum(sum(server.cpu_times()[:2]) for server in servers))


async def test_five_thousand_streams() -> None:
    async with plane_with(5000) as (plane, ids):
        await storm(plane, ids, 2.0, 1.0)


@pytest.mark.scale
async def test_five_thousand_streams_for_a_minute() -> None:
    async with plane_with(5000) as (plane, ids):
        await storm(plane, ids, 60.0, 10.0)


@pytest.mark.scale
async def test_twenty_thousand_streams_over_two_processes() -> None:
    with PostgresServer() as server:
        async with plane_with(20_000, server.create("plane"), 2) as (plane, ids):
            await storm(plane, ids, 10.0, 10.0)
