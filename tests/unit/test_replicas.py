"""The roster: limits are shared among living processes, and lost hosts' machines end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from controlplane.adapters.bus.memory import MemoryBus
from controlplane.api.interceptors.limits import KeyLimits, Limits
from controlplane.bootstrap.plane import Worker
from controlplane.bootstrap.replica import Replica, holder_name
from controlplane.bootstrap.stores import migrate_store, open_store
from controlplane.domain.billing import SECOND
from controlplane.domain.errors import ResourceExhausted
from controlplane.domain.principal import ALL
from controlplane.domain.state import State
from controlplane.domain.work import WorkItem
from controlplane.metrics import Metrics
from controlplane.ports.store import Transaction, UnitOfWork
from controlplane.reconcile.replicas import Roster
from controlplane.settings import Settings
from controlplane.state_folder import StateFolder
from tests.support.lab import Lab, in_virtual_time


@in_virtual_time
async def test_the_rate_is_shared_among_those_who_live(lab: Lab) -> None:
    shares: list[int] = []
    one = Roster(lab.core, "one", shares.append)
    two = Roster(replace(lab.core, host_id="h2"), "two", lambda n: None)
    tasks = [asyncio.create_task(one.run()), asyncio.create_task(two.run())]
    await asyncio.sleep(10)
    assert shares[-1] == 2
    tasks[1].cancel()
    await asyncio.sleep(20)  # it left without a word
    assert shares[-1] == 1
    tasks[0].cancel()
    await one.leave()


@in_virtual_time
async def test_machines_of_a_lost_host_end_and_others_stay(lab: Lab) -> None:
    lab.work()
    mine, lost = await lab.running(), await lab.running()
    await asyncio.sleep(5)
    await lab.put(replace(lab.instance(lost.id), host_id="gone"))
    await lab.put(replace(lab.disk.table(WorkItem)[lost.id], host_id="gone", lease_until=0))
    other = Roster(replace(lab.core, host_id="gone"), "other", lambda n: None)
    await other._alive()
    me = Roster(lab.core, "me", lambda n: None)
    await asyncio.sleep(3000)
    await me._alive()
    await me.end_lost_hosts(3600)
    assert lab.instance(lost.id).state is State.RUNNING
    await asyncio.sleep(1000)
    await me._alive()
    await me.end_lost_hosts(3600)
    ended = lab.instance(lost.id)
    assert (ended.state, ended.state_reason, ended.settled) == (State.FAILED, "HOST_LOST", True)
    assert lab.instance(mine.id).state is State.RUNNING


def test_a_share_of_the_rate_is_that_part_of_it() -> None:
    now = 0.0
    limits = KeyLimits(Limits(calls_per_second=10, calls_burst=8), clock=lambda: now)
    limits.share_among(2)
    taken = 0
    try:
        for _ in range(100):
            limits.charge_call("key")
            taken += 1
    except ResourceExhausted:
        pass
    assert taken == 4


@in_virtual_time
async def test_lives_that_were_killed_leave_no_row_for_ever(lab: Lab) -> None:
    for name in ("killed once", "killed twice"):
        await Roster(lab.core, name, lambda n: None)._alive()
    me = Roster(lab.core, "me", lambda n: None)
    await me._alive()
    await me.end_lost_hosts(3600)
    assert len(await me._all()) == 3
    await asyncio.sleep(4000)
    await me._alive()
    await me.end_lost_hosts(3600)
    assert [row.id for row in await me._all()] == ["me"]


async def test_what_a_dead_server_process_held_is_free_at_once(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "state")
    folder = StateFolder(settings.state)
    folder.acquire()
    await migrate_store(settings, folder)
    store = await open_store(settings, MemoryBus(), Metrics())
    dead, alive = holder_name(folder.host_id(), 1), holder_name(folder.host_id(), 0)

    def claim(tx: Transaction) -> None:
        for id, holder in (("inst_1", dead), ("inst_2", alive), ("inst_3", "other-host/1-00000000")):
            tx.put(WorkItem(id, tx.now).claimed(holder, tx.now, 6 * SECOND))

    await store.run(UnitOfWork(ALL, [], claim))
    await Worker(settings, folder, 1)._release(dead)
    rows = {id: await store.get(ALL, WorkItem, id) for id in ("inst_1", "inst_2", "inst_3")}
    assert {id: row.holder for id, row in rows.items() if row} == {
        "inst_1": "", "inst_2": alive, "inst_3": "other-host/1-00000000",
    }  # fmt: skip
    due_in = await store.due_in("")
    assert due_in is not None
    assert due_in <= 0
    await store.close()
    folder.release()


async def test_a_server_process_that_ends_late_leaves_its_successor_the_socket(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "state", local=False)
    folder = StateFolder(settings.state)
    folder.acquire()
    await migrate_store(settings, folder)
    socket = tmp_path / "server-0.sock"
    late = await Replica.build(settings, folder, socket, "h/0-a")
    await late.start()
    successor = await Replica.build(settings, folder, socket, "h/0-b")
    await successor.start()
    await late.stop()
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    await successor.stop()
    folder.release()
