"""Machines whose disk outlives their lease, at the marketplace that can keep them, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from controlplane.domain.billing import cost
from controlplane.domain.budget import Budget, Period
from controlplane.domain.errors import FailedPrecondition
from controlplane.domain.instance import Instance
from controlplane.domain.ledger import LedgerKind
from controlplane.domain.money import NANO
from controlplane.domain.operation import Operation
from controlplane.domain.principal import ALL
from controlplane.domain.requirements import Requirements
from controlplane.domain.state import State
from controlplane.ports.provider import ProviderError
from controlplane.ports.store import Get, UnitOfWork, UsageQuery
from controlplane.usecases import accounts, instances
from controlplane.usecases.idempotency import RequestKey
from controlplane.usecases.keys import KeyAuthenticator
from tests.faults.session_stage import SessionStage
from tests.faults.stage import Stage


def test_a_lease_that_ends_leaves_the_disk_until_somebody_wants_it_gone() -> None:
    async def scenario(stage: Stage) -> None:
        running = await _running(stage, reservation_s=300, max_duration_s=600)
        kept = await stage.reached(running.id, lambda row: row.kept is not None)
        assert (kept.state, kept.state_reason) == (State.STOPPED, "LEASE_EXPIRED")
        assert kept.state_message == "its reservation ended; its disk is kept"
        assert (kept.ending, kept.settled) == (False, False)
        (machine,) = _machines(stage)
        await asyncio.sleep(1200.0)
        assert stage.row(kept.id).state is State.STOPPED, "no lease ends a disk"
        assert machine.ended_at is None
        await _terminate(stage, kept.id)
        ended = await stage.reached(kept.id, lambda row: row.settled)
        assert (ended.state, ended.state_reason) == (State.TERMINATED, "TERMINATED_BY_CALLER")
        _check_ledgers(stage, ended)
        assert await _machine_us(stage) == kept.kept.at - kept.run_at  # type: ignore[union-attr,operator]

    _play(scenario)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_beside_the_stop_leaves_one_machine_at_rest(moment: str) -> None:
    async def scenario(stage: Stage) -> None:
        running = await _running(stage)
        calls = stage.markets["vastai"].journal
        await stage.lives.call(lambda core, me: instances.finish(core, me, running.id))
        if moment == "after":
            while not calls.entries("manage"):
                await asyncio.sleep(0.05)
        stage.lives.kill()
        await asyncio.sleep(3.0)
        await stage.lives.boot()
        kept = await stage.reached(running.id, lambda row: row.kept is not None)
        assert kept.state_message == "finished by the caller; its disk is kept"
        assert [machine.intended for machine in _machines(stage)] == ["stopped"]
        assert not calls.entries("destroy")

    _play(scenario)


def test_one_that_is_started_again_is_stopped_again_and_not_charged_for_it() -> None:
    async def scenario(stage: Stage) -> None:
        running = await _running(stage)
        await stage.lives.call(lambda core, me: instances.finish(core, me, running.id))
        kept = await stage.reached(running.id, lambda row: row.kept is not None)
        (machine,) = _machines(stage)
        machine.intended = "running"
        machine.plan_run(stage.markets["vastai"].clock.now(), 0.0)
        again = await stage.reached(kept.id, lambda row: row.state is State.STOPPING)
        at_rest = await stage.reached(kept.id, lambda row: row.state is State.STOPPED)
        assert again.stop_message == "it had ended when its machine was started"
        assert at_rest.kept == kept.kept
        await _terminate(stage, kept.id)
        _check_ledgers(stage, await stage.reached(kept.id, lambda row: row.settled))

    _play(scenario)


def test_a_forced_end_and_one_before_it_ran_leave_nothing() -> None:
    async def scenario(stage: Stage) -> None:
        never_ran = await stage.create(_wish(stage), preserve=True)
        await stage.lives.call(lambda core, me: instances.finish(core, me, never_ran.instance_id))
        assert (await stage.reached(never_ran.instance_id, lambda row: row.settled)).kept is None
        running = await _running(stage)
        await stage.lives.call(lambda core, me: instances.finish(core, me, running.id))
        await _terminate(stage, running.id)
        assert (await stage.reached(running.id, lambda row: row.settled)).state is State.TERMINATED
        assert [machine for machine in _machines(stage) if machine.ended_at is None] == []

    _play(scenario)


def test_a_kept_disk_is_looked_at_no_more_often_than_a_machine_that_runs() -> None:
    async def scenario(stage: Stage) -> None:
        running = await _running(stage, reservation_s=300)
        kept = await stage.reached(running.id, lambda row: row.kept is not None)
        calls = stage.markets["vastai"].journal
        before = len(calls.entries("list"))
        await asyncio.sleep(600.0)
        assert len(calls.entries("list")) - before <= 60
        assert stage.row(kept.id).state is State.STOPPED

    _play(scenario)


def test_an_account_that_is_closed_leaves_no_disk() -> None:
    async def scenario(stage: Stage) -> None:
        kept, running = await _running(stage), await _running(stage)
        await stage.lives.call(lambda core, me: instances.finish(core, me, kept.id))
        await stage.reached(kept.id, lambda row: row.kept is not None)
        keys = KeyAuthenticator(stage.core.store, stage.core.clock, "", {})
        await stage.lives.call(lambda core, me: accounts.close(core, me.account_id, keys))
        for id in (kept.id, running.id):
            assert (await stage.reached(id, lambda row: row.settled)).state is State.TERMINATED
        assert [machine for machine in _machines(stage) if machine.ended_at is None] == []

    _play(scenario)


@pytest.mark.parametrize("answers", [True, False], ids=["does not stop", "cannot be asked to stop"])
def test_a_machine_that_does_not_stop_ends_with_the_money_for_it(answers: bool) -> None:
    async def scenario(stage: Stage) -> None:
        running = await _running(stage)
        if not answers:
            _refuse_stops(stage)
        budget = Budget(
            "budget_a", running.account_id, "small", running.price_nano_per_hour // 4, "USD", Period.TOTAL, 0, 0
        )
        await stage.core.store.run(UnitOfWork(ALL, [Get(Budget, budget.id)], lambda tx: tx.put(budget)))
        stage.markets["vastai"].configure({"stop_s": 1e9})
        await stage.lives.call(lambda core, me: instances.finish(core, me, running.id))
        await asyncio.sleep(300.0)
        assert stage.row(running.id).state is State.STOPPING, "there is money left"
        assert len(stage.markets["vastai"].journal.entries("manage")) < 40, "it is asked less and less often"
        ended = await stage.reached(running.id, lambda row: row.settled, 3600.0)
        assert (ended.state, ended.state_reason) == (State.TERMINATED, "BUDGET_EXHAUSTED")
        assert ended.end_at is not None
        assert ended.charged_nano < running.price_nano_per_hour // 2

    _play(scenario)


def test_only_providers_that_keep_disks_are_asked() -> None:
    async def scenario(stage: Stage) -> None:
        operation, row = await stage.done(await stage.create(_wish(stage), preserve=True))
        assert row.provider == "vastai"
        assert not any(attempt.provider == "tensordock" for attempt in operation.attempts)
        assert any(each.reason == "machines of tensordock cannot be stopped and kept" for each in operation.skipped)

    _play(scenario, tensordock=40)


def test_a_session_reads_stopped_while_its_disk_is_kept() -> None:
    async def scenario(stage: SessionStage) -> None:
        id = await stage.rented(reservation_hours=1, storage_policy="preserve")
        await stage.desk.done(id)
        assert (await stage.desk.get(id)).status == "running", "it is stopped by the plane, a moment later"
        await stage.until(id, "stopped")
        for ended in (stage.desk.done(id), stage.desk.extend(id, 1)):
            with pytest.raises(FailedPrecondition, match=f"session {id} is stopped and"):
                await ended
        kept = await stage.desk.cost(session_id=id)
        await asyncio.sleep(3600.0)
        with_storage = await stage.desk.cost(session_id=id)
        storage = stage.row(id).kept.nano_per_hour / NANO  # type: ignore[union-attr]
        assert with_storage.total_cost - kept.total_cost == pytest.approx(storage, rel=0.05)
        assert (await stage.desk.cost()).hours_used < 0.1
        assert (await stage.desk.destroy(id)).message == "session destroyed"
        row = await stage.settled(id)
        assert row.state is State.TERMINATED
        assert stage.destroys == [200]
        _check_ledgers(stage, row)

    SessionStage().play(scenario)


def _play(scenario: Callable[[Stage], Awaitable[None]], **more: int) -> None:
    Stage({"vastai": 20, **more}).play(scenario)


def _wish(stage: Stage) -> Requirements:
    return Requirements(tuple(sorted({offer.gpu_type for offer in stage.core.offers})))


async def _running(stage: Stage, **more: Any) -> Instance:
    operation = await stage.create(_wish(stage), preserve=True, **more)
    return await stage.reached(operation.instance_id, lambda row: row.state is State.RUNNING)


async def _terminate(stage: Stage, id: str) -> None:
    request = RequestKey("terminate", f"end-{id}", "same")
    ended = await stage.lives.call(lambda core, me: instances.terminate(core, me, id, force=False, request=request))
    assert isinstance(ended, Operation)


def _refuse_stops(stage: Stage) -> None:
    async def refused(machine_id: str) -> None:
        raise ProviderError("no such route")

    stage.core.providers["vastai"].stop = refused  # type: ignore[method-assign]


def _machines(stage: Stage) -> list[Any]:
    return list(stage.markets["vastai"].machines.values())


def _check_ledgers(stage: Stage, row: Instance) -> None:
    """The charge is the full price until the machine was at rest and its storage from then on; the cost is the
    marketplace's bill."""
    kept, run_at, end_at = row.kept, row.run_at, row.end_at
    assert kept is not None
    assert run_at is not None
    assert end_at is not None
    owed = cost(row.price_nano_per_hour, run_at, kept.at) + cost(kept.nano_per_hour, kept.at, end_at)
    assert kept.nano_per_hour > 0
    assert stage.posted(row.id, LedgerKind.CHARGE) == owed
    market = stage.markets["vastai"]
    billed = sum(market.bill(machine, market.clock.now()).billed_nano for machine in _machines(stage))
    second = row.price_nano_per_hour / 3600
    assert stage.posted(row.id, LedgerKind.PROVIDER_COST) == pytest.approx(billed, abs=second)


async def _machine_us(stage: Stage) -> int:
    query = UsageQuery(LedgerKind.CHARGE, 0, stage.core.clock.now())
    rows = await stage.lives.call(lambda core, me: core.store.usage(me.scope, query))
    return sum(row.machine_us for row in rows)
