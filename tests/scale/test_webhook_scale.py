"""10,000 events for dead receivers: one refuses connections, one takes them and never answers. Callers must not
feel it."""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import psutil
import pytest

from controlplane.adapters.store.sqlite import SqliteStore
from controlplane.adapters.system import SystemClock, SystemIds
from controlplane.domain.instance import Instance
from controlplane.domain.principal import ALL
from controlplane.domain.state import State
from controlplane.ports.store import Get, Transaction, UnitOfWork
from tests.support.fakes import instance
from tests.support.plane import Plane, eventually, new_plane, pb

pytestmark = pytest.mark.scale

INSTANCES, CHANGES = 500, 20
SLICE, PAIRS = 500, 40
IDLE_S = 20.0
MOST = 1.05


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:
        yield server.getsockname()[1]


async def _happen(plane: Plane) -> None:
    """10,000 changes of state, written into the stopped plane's database."""
    store = SqliteStore(plane.state / "gpuplane.db", SystemClock(), SystemIds())
    rows = [instance(f"inst_{n:04}", plane.account_id) for n in range(INSTANCES)]
    for n in range(CHANGES):
        rows = [replace(row, state=State.STOPPED if n % 2 else State.RUNNING) for row in rows]

        def decide(tx: Transaction, rows: list[Instance] = rows) -> None:
            for row in rows:
                tx.put(row)

        await store.run(UnitOfWork(ALL, [Get(Instance, row.id) for row in rows], decide))
    await store.close()


def _slice(plane: Plane, id: str) -> tuple[float, float]:
    """(wall, server's CPU) seconds of so many Gets, one after the other."""
    process = psutil.Process(plane.pid)
    get, request = plane.me.instances.GetInstance, pb.GetInstanceRequest(id=id)
    cpu, began = sum(process.cpu_times()[:2]), time.perf_counter()
    for _ in range(SLICE):
        get(request)
    return time.perf_counter() - began, sum(process.cpu_times()[:2]) - cpu


def _idle(plane: Plane) -> float:
    """The server's CPU per second while nobody calls."""
    process = psutil.Process(plane.pid)
    cpu = sum(process.cpu_times()[:2])
    time.sleep(IDLE_S)
    return (sum(process.cpu_times()[:2]) - cpu) / IDLE_S


def _quick(walls: Iterable[float]) -> float:
    """The mean of the quicker half: what other programs on this host took is in the slower one."""
    return statistics.mean(sorted(walls)[: PAIRS // 2])


def test_dead_receivers_do_not_slow_get(deaf: int) -> None:
    plane = new_plane(webhook_allow_private=True)
    try:
        plane.start()
        endpoints: list[Any] = [
            plane.me.webhooks.CreateWebhookEndpoint(pb.CreateWebhookEndpointRequest(url=url)).webhook_endpoint
            for url in ("http://127.0.0.1:9/refuses", f"http://127.0.0.1:{deaf}/stalls")
        ]
        plane.stop()
        asyncio.run(_happen(plane))
        plane.start()
        id = plane.rent().id

        def pending() -> list[int]:
            return [
                plane.me.webhooks.GetWebhookEndpoint(pb.GetWebhookEndpointRequest(id=e.id)).pending_count
                for e in endpoints
            ]

        began = time.perf_counter()
        eventually(lambda: min(pending()) >= INSTANCES * CHANGES, 120)
        print(f"\n{pending()} pending after {time.perf_counter() - began:.1f} s")

        def switch(on: bool) -> None:
            for e in endpoints:
                plane.me.webhooks.UpdateWebhookEndpoint(pb.UpdateWebhookEndpointRequest(id=e.id, enabled=on))
            time.sleep(0.5)

        # What the loops take when nobody calls: no more than that can be missing when the server is busy.
        idle = {}
        for on in (False, True):
            switch(on)
            idle[on] = _idle(plane)
        print(f"the idle server's CPU: {idle[False]:.3f} of a core without, {idle[True]:.3f} with")

        _slice(plane, id)
        found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for n in range(PAIRS):
            for on in (True, False) if n % 2 else (False, True):
                switch(on)
                found[on].append(_slice(plane, id))
        wall = _quick(w for w, _ in found[True]) / _quick(w for w, _ in found[False])
        cpu = statistics.median(c for _, c in found[True]) / statistics.median(c for _, c in found[False])
        print(f"Get with dead receivers / without: time {wall:.3f}, the server's CPU {cpu:.3f}; {pending()} pending")
        assert min(pending()) >= INSTANCES * CHANGES, "nothing was given up"
        assert idle[True] - idle[False] < MOST - 1
        assert cpu < MOST
        assert wall < MOST
    finally:
        plane.close()
