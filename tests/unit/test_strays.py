"""Strays: what sweeps keep of them, and how what operators decide about them is carried out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from controlplane.adapters.store.memory import MemoryStore
from controlplane.domain import ids
from controlplane.domain.account import Account
from controlplane.domain.instance import Instance
from controlplane.domain.ledger import LedgerKind
from controlplane.domain.operation import Operation, OperationKind, OperationState, Outcome
from controlplane.domain.state import State
from controlplane.domain.stray import StrayKind, StrayMachine, StrayWish, stray_id
from controlplane.ports.provider import MachineStatus, ProviderError
from controlplane.reconcile.sweep import Sweeper
from controlplane.usecases import strays
from tests.simulation.world import SimMachine
from tests.support.fakes import SECOND, START, FakeIds
from tests.support.lab import Lab, in_virtual_time

PRICE = 36 * 10**8  # 3.60 an hour: a thousandth of a unit each second
INSTANCE = "inst_" + "0" * 26
FOREIGN = ids.label("lab", INSTANCE, 3)


def machine(lab: Lab, label: str = FOREIGN, **changes: Any) -> SimMachine:
    made = SimMachine(f"m-{label[-6:]}", label, lab.clock.now(), 0, 0, PRICE)
    for name, value in changes.items():
        setattr(made, name, value)
    lab.market.machines[made.id] = made
    return made


def rows(lab: Lab) -> list[StrayMachine]:
    return list(lab.disk.table(StrayMachine).values())


async def seen(lab: Lab) -> StrayMachine:
    """The only stray, after a sweep."""
    await lab.sweeper.sweep()
    (row,) = rows(lab)
    return row


async def failing_destroy(machine_id: str, *, grace_s: float) -> Any:
    raise ProviderError("503 at https://internal.example/key=s3cret")


@in_virtual_time
async def test_a_foreign_machine_is_shown_and_forgotten_once_it_is_gone(lab: Lab) -> None:
    made = machine(lab)
    first = await seen(lab)
    assert (first.kind, first.label, first.machine_id) == (StrayKind.FOREIGN, FOREIGN, made.id)
    assert (first.provider, first.credential_id, first.instance_id) == ("alpha", "", INSTANCE)
    assert (first.status, first.price_nano_per_hour, first.wish) == ("running", PRICE, StrayWish.NONE)
    await asyncio.sleep(30)
    again = await seen(lab)
    assert again.first_seen_at == first.first_seen_at
    assert again.last_seen_at - first.last_seen_at >= 30 * SECOND
    del lab.market.machines[made.id]
    lab.market.calm, lab.market.faults.incomplete_listing = False, 1.0
    await lab.sweeper.sweep()
    assert len(rows(lab)) == 1, "an incomplete listing proves nothing"
    lab.market.calm = True
    await lab.sweeper.sweep()
    assert rows(lab) == []


@in_virtual_time
async def test_an_adopted_machine_is_an_instance_like_any_other(lab: Lab) -> None:
    machine(lab)
    await asyncio.sleep(100)
    row = await seen(lab)
    wished = await strays.adopt(lab.core, row.id, "acct_a")
    assert (wished.wish, wished.account_id) == (StrayWish.ADOPT, "acct_a")
    assert await strays.adopt(lab.core, row.id, "acct_a") == wished
    await lab.sweeper.sweep()
    assert rows(lab) == []
    taken = lab.instance(INSTANCE)
    assert (taken.state, taken.account_id, taken.machine_id) == (State.STARTING, "acct_a", row.machine_id)
    assert (taken.label, taken.attempt, taken.price_nano_per_hour, taken.machine_at) == (FOREIGN, 3, PRICE, START)
    operation = lab.operation(taken.create_operation_id)
    assert operation.kind is OperationKind.CREATE_INSTANCE
    (attempt,) = operation.attempts
    assert (attempt.number, attempt.outcome, attempt.message) == (3, Outcome.CREATED, "adopted")
    lab.work()
    running = await lab.until(INSTANCE, State.RUNNING)
    assert lab.operation(running.create_operation_id).state is OperationState.SUCCEEDED
    await lab.sweeper.sweep()
    assert lab.market.alive, "it is nobody's stray any more"
    assert rows(lab) == []
    await lab.put(ending(lab))
    settled = await lab.settled(INSTANCE)
    assert settled.gone_at is not None
    assert lab.market.alive == []
    cost = lab.posted(INSTANCE, LedgerKind.PROVIDER_COST)
    assert cost == -(-PRICE * (settled.gone_at - START) // (3600 * SECOND)), "from the provider's creation on"
    assert 0 < lab.posted(INSTANCE) < cost


def ending(lab: Lab) -> Instance:
    """The adopted instance, asked to end."""
    return lab.instance(INSTANCE).ask_to_end("TERMINATED_BY_CALLER", "", lab.clock.now(), force=True)


@in_virtual_time
async def test_two_sweeps_adopt_a_machine_once(lab: Lab) -> None:
    machine(lab)
    await strays.adopt(lab.core, (await seen(lab)).id, "acct_a")
    await asyncio.gather(lab.sweeper.sweep(), Sweeper(lab.core, lab.provider).sweep())
    taken = lab.instance(INSTANCE)
    assert len(lab.disk.table(Operation)) == 1
    await lab.sweeper.sweep()
    assert rows(lab) == []
    assert lab.market.machines[taken.machine_id].stop_at is None


@in_virtual_time
async def test_an_adoption_that_cannot_be_says_why(lab: Lab) -> None:
    made = machine(lab, status=MachineStatus.FAILED)
    row = await seen(lab)
    await strays.adopt(lab.core, row.id, "acct_a")
    assert (await seen(lab)).error == "the machine is failed at the provider"
    made.status = MachineStatus.RUNNING
    await lab.put(Account("acct_a", "a", "USD", 100, START, closed_at=START))
    assert (await seen(lab)).error == "the account acct_a is closed or does not exist"
    await lab.put(Account("acct_a", "a", "USD", 100, START))
    await lab.sweeper.sweep()
    assert rows(lab) == []
    assert lab.instance(INSTANCE).state is State.STARTING


@in_virtual_time
async def test_a_wished_destroy_is_repeated_until_it_is_confirmed(lab: Lab) -> None:
    made = machine(lab)
    row = await seen(lab)
    wished = await strays.destroy(lab.core, row.id)
    assert await strays.destroy(lab.core, row.id) == wished
    destroy, lab.provider.destroy = lab.provider.destroy, failing_destroy  # type: ignore[method-assign]
    assert (await seen(lab)).error == "the provider could not be asked to destroy it"
    assert (await seen(lab)).wish is StrayWish.DESTROY
    lab.provider.destroy = destroy  # type: ignore[method-assign]
    for _ in range(3):
        await lab.sweeper.sweep()
        await asyncio.sleep(6)
    assert made.gone_at is not None
    assert rows(lab) == []


@in_virtual_time
async def test_a_machine_that_cannot_be_destroyed_keeps_the_sweep_from_nothing_else(lab: Lab) -> None:
    lab.work()
    row = await lab.running()
    for task in lab.tasks:
        task.cancel()
    machine(lab, ids.label("lab", row.id, 9))
    del lab.market.machines[row.machine_id]
    lab.provider.destroy = failing_destroy  # type: ignore[method-assign]
    for _ in range(2):
        await lab.sweeper.sweep()
        await asyncio.sleep(6)
    assert lab.instance(row.id).state_reason == "MACHINE_LOST"


@in_virtual_time
async def test_the_first_sighting_of_an_orphan_outlives_the_process(lab: Lab) -> None:
    lab.work()
    row = await lab.running()
    made = machine(lab, ids.label("lab", row.id, row.attempt + 1))
    assert (await seen(lab)).kind is StrayKind.ORPHAN
    await asyncio.sleep(6)
    assert made.stop_at is None
    await Sweeper(lab.core, lab.provider).sweep()
    assert made.stop_at is not None


@in_virtual_time
async def test_a_kill_before_the_commit_leaves_the_stray_and_after_it_the_instance(lab: Lab) -> None:
    machine(lab)
    row = await seen(lab)
    await strays.adopt(lab.core, row.id, "acct_a")
    await lab.core.store.close()
    reborn = MemoryStore(lab.disk, lab.clock, FakeIds(9, lab.clock), lambda units, seconds: None)
    assert [r.wish for r in rows(lab)] == [StrayWish.ADOPT]
    sweeper = Sweeper(replace(lab.core, store=reborn), lab.provider)
    await sweeper.sweep()
    assert (rows(lab), lab.instance(INSTANCE).state) == ([], State.STARTING)
    await sweeper.sweep()
    assert lab.market.machines[row.machine_id].stop_at is None


@in_virtual_time
async def test_each_credential_misses_only_its_own(lab: Lab) -> None:
    made = machine(lab)
    mine = Sweeper(lab.core, lab.provider, credential_id="cred_1")
    await mine.sweep()
    (row,) = rows(lab)
    assert (row.credential_id, row.id) == ("cred_1", stray_id("alpha", "cred_1", made.id))
    elsewhere = replace(row, id=stray_id("alpha", "other-host", "m2"), credential_id="other-host")
    await lab.put(elsewhere)
    del lab.market.machines[made.id]
    await lab.sweeper.sweep()
    assert len(rows(lab)) == 2, "the deployment's own credential shows nothing of others"
    await mine.sweep()
    assert rows(lab) == [elsewhere]
    machine(lab)
    await strays_adopted_by(lab, mine)
    assert lab.instance(INSTANCE).credential_id == "cred_1"
    await lab.sweeper.sweep()
    assert lab.market.alive, "listed under two credentials, it is claimed all the same"


async def strays_adopted_by(lab: Lab, sweeper: Sweeper) -> None:
    await sweeper.sweep()
    (row,) = [row for row in rows(lab) if row.credential_id == sweeper.credential_id]
    await strays.adopt(lab.core, row.id, "acct_a")
    await sweeper.sweep()


@in_virtual_time
async def test_a_ghost_is_judged_by_the_credential_it_was_bought_under(lab: Lab) -> None:
    machine(lab)
    mine = Sweeper(lab.core, lab.provider, credential_id="cred_1")
    await strays_adopted_by(lab, mine)
    lab.market.machines.clear()
    for _ in range(2):
        await lab.sweeper.sweep()
        await asyncio.sleep(6)
    assert lab.instance(INSTANCE).state is State.STARTING
    for _ in range(2):
        await mine.sweep()
        await asyncio.sleep(6)
    assert lab.instance(INSTANCE).state_reason == "MACHINE_LOST"


def test_a_stray_of_another_kind_is_a_new_one() -> None:
    row = StrayMachine(
        stray_id("alpha", "", "m1"), "alpha", "", "m1", FOREIGN, StrayKind.FOREIGN, "running", 0, START, START
    )
    decided = replace(row, wish=StrayWish.ADOPT, account_id="acct_a", error="why")
    later = replace(row, last_seen_at=START + 5, first_seen_at=START + 5)
    assert later.after(decided) == replace(decided, last_seen_at=START + 5)
    orphan = replace(later, kind=StrayKind.ORPHAN)
    assert orphan.after(decided) == orphan
    assert later.after(None) == later


def test_ids_are_stable_and_apart() -> None:
    pairs = {stray_id("a", "", "b/c"), stray_id("a", "b", "/c"), stray_id("a", "", "b"), stray_id("ab", "", "c")}
    assert len(pairs) == 4
    assert stray_id("a", "", "b") == stray_id("a", "", "b")
    assert all(id.startswith("stray_") and len(id) == 32 and "/" not in id for id in pairs)
