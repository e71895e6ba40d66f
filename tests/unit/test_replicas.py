"""The roster: limits are shared among living processes, and lost hosts' machines end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from controlplane.api.interceptors.limits import KeyLimits, Limits
from controlplane.domain.errors import ResourceExhausted
from controlplane.domain.state import State
from controlplane.domain.work import WorkItem
from controlplane.reconcile.replicas import Roster
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
