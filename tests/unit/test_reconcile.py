"""The loops in virtual time: buying, starting, keeping, ending; each rule of DESIGN section 4 by a case."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from controlplane.adapters.store.batch import Changes
from controlplane.domain import ids
from controlplane.domain.billing import HOUR, SECOND, BillingKind, BillingPolicy, cost
from controlplane.domain.errors import FailedPrecondition, OutOfRange, ResourceExhausted, Unavailable
from controlplane.domain.instance import Instance
from controlplane.domain.ledger import LedgerEntry, LedgerKind
from controlplane.domain.operation import OperationState, Outcome
from controlplane.domain.requirements import Requirements
from controlplane.domain.state import State
from controlplane.domain.work import WorkItem
from controlplane.ports.provider import (
    Ambiguous,
    AuthFailed,
    CreatedButUnusable,
    LaunchMode,
    LaunchSpec,
    MachineStatus,
    ProviderError,
    RateLimited,
    Rejected,
    Stockout,
    TooDear,
)
from controlplane.reconcile.loop import InstanceLoop, LoopTimes
from controlplane.reconcile.sweep import Sweeper
from controlplane.usecases import instances, operations
from controlplane.usecases.idempotency import RequestKey
from tests.simulation.world import SimMachine
from tests.support.lab import CALLER, Lab, in_virtual_time

ANY = Requirements(gpu_types=("RTX 4090",))
END = RequestKey("terminate")


@in_virtual_time
async def test_a_machine_is_usable_as_soon_as_it_answers(lab: Lab) -> None:
    lab.work()
    row = await lab.running()
    machine = next(iter(lab.market.machines.values()))
    ready_s = (machine.ready_at - row.created_at) / SECOND
    assert lab.seconds < ready_s + 4  # polls and probes, never a lease that ran out
    operation = lab.operation(row.create_operation_id)
    assert operation.state is OperationState.SUCCEEDED
    assert [step.name for step in operation.steps] == ["allocate", "start", "ready"]
    assert [a.outcome for a in operation.attempts] == [Outcome.CREATED]
    assert (row.ssh_host, row.ssh_port, row.ssh_host_key) == ("host", 22, "ssh-ed25519 host")


@in_virtual_time
async def test_a_provider_without_jupyter_gives_a_machine_without(lab: Lab) -> None:
    lab.work()
    await lab.running(mode="jupyter")
    (spec,) = lab.provider.asked
    assert (spec.mode, spec.jupyter_token) == (LaunchMode.SSH, "")


@in_virtual_time
async def test_jupyter_is_asked_for_where_it_can_be_had(lab: Lab) -> None:
    lab.provider.capabilities = replace(lab.provider.capabilities, jupyter=True)
    lab.work()
    await lab.running(mode="jupyter")
    (spec,) = lab.provider.asked
    assert spec.mode is LaunchMode.JUPYTER
    assert len(spec.jupyter_token) == 64


@in_virtual_time
async def test_a_prepaid_reservation_lasts_from_running(lab: Lab) -> None:
    policy = BillingPolicy(BillingKind.PREPAID, prepaid_s=600)
    lab.work()
    row = await lab.running(billing=policy, reservation_s=600, max_duration_s=900)
    assert row.run_at is not None
    assert row.run_at > row.created_at
    assert row.expire_at == row.run_at + 600 * SECOND
    assert row.hard_expire_at == row.run_at + 900 * SECOND
    ended = await lab.until(row.id, State.TERMINATED)
    assert ended.stop_at is not None
    assert ended.stop_at >= row.expire_at, "what is paid can be used"


@in_virtual_time
async def test_a_light_operation_is_five_commits_and_no_read_of_its_rows(lab: Lab) -> None:
    lab.worker = InstanceLoop(lab.core, "worker", LoopTimes(renew_s=5.0))  # no renewal among the commits
    store: Any = lab.core.store
    commits, write, make = 0, store._write, lab.market.make

    def counted(changes: Changes) -> None:
        nonlocal commits
        commits += not changes.empty
        write(changes)

    def ready(spec: LaunchSpec) -> SimMachine:
        machine = make(spec)
        machine.ready_at = machine.made_at
        return machine

    async def unreadable(*_: object) -> None:
        raise Unavailable("a read after the claim would leave its items to their leases")

    store._write, store.get, lab.market.make = counted, unreadable, ready  # type: ignore[method-assign]
    lab.work()
    row = await lab.running()
    assert row.seen_at == row.run_at
    await asyncio.sleep(0.2)
    assert commits == 5  # create, claim, attempt, machine, RUNNING; and no look at once after that
    await asyncio.sleep(lab.provider.capabilities.steady_poll_s)
    assert (lab.instance(row.id).seen_at or 0) > (row.seen_at or 0)


@in_virtual_time
async def test_stockouts_move_on_to_the_next_cheapest_and_are_recorded(lab: Lab) -> None:
    lab.provider.script = [Stockout("none left"), TooDear(10**12), Rejected("no such image")]
    lab.work()
    accepted = await lab.create(requirements=ANY)
    row = await lab.until(accepted.id, State.RUNNING)
    attempts = lab.operation(row.create_operation_id).attempts
    assert [(a.offer_id, a.outcome) for a in attempts] == [
        ("alpha-o0", Outcome.STOCKOUT),
        ("alpha-o1", Outcome.TOO_DEAR),
        ("alpha-o2", Outcome.REJECTED),
        ("alpha-o3", Outcome.CREATED),
    ]
    assert attempts[0].message == "none left"
    assert row.offer_id == "alpha-o3"
    assert len({spec.label for spec in lab.provider.asked}) == 4


@in_virtual_time
async def test_when_nothing_can_be_had_it_fails_and_costs_nothing(lab: Lab) -> None:
    lab.provider.script = [Stockout("none")] * 4
    await lab.limit(10**12)
    lab.work()
    accepted = await lab.create(requirements=ANY)
    row = await lab.until(accepted.id, State.FAILED)
    operation = lab.operation(row.create_operation_id)
    assert (row.state_reason, operation.state) == ("NO_CAPACITY", OperationState.FAILED)
    assert operation.failure is not None
    assert operation.failure.code == 8
    assert row.settled
    assert lab.posted(row.id) == lab.posted(row.id, LedgerKind.PROVIDER_COST) == 0
    assert lab.budget().held_nano == 0


@in_virtual_time
async def test_a_provider_that_refuses_us_is_not_asked_again(lab: Lab) -> None:
    lab.provider.script = [AuthFailed("bad key")]
    lab.work()
    accepted = await lab.create(requirements=ANY)
    row = await lab.until(accepted.id, State.FAILED)
    assert row.state_reason == "PROVIDER_REFUSED"
    assert len(lab.provider.asked) == 1


@in_virtual_time
async def test_a_limited_provider_is_asked_again_later(lab: Lab) -> None:
    lab.provider.script = [RateLimited(3.0)]
    lab.work()
    row = await lab.running()
    assert [a.outcome for a in lab.operation(row.create_operation_id).attempts] == [
        Outcome.RATE_LIMITED,
        Outcome.CREATED,
    ]


@in_virtual_time
async def test_a_lost_answer_is_settled_by_the_label_never_by_asking_again(lab: Lab) -> None:
    made: list[SimMachine] = []

    async def launch_and_lose(spec: object) -> object:
        made.append(lab.market.make(spec))  # type: ignore[arg-type]
        raise ProviderError("connection cut")

    lab.provider.launch = launch_and_lose  # type: ignore[method-assign, assignment]
    lab.work()
    row = await lab.running()
    assert len(made) == 1
    assert row.machine_id == made[0].id
    assert lab.operation(row.create_operation_id).attempts[0].message == "found by its label"


@in_virtual_time
async def test_a_lost_request_counts_as_not_created_only_after_the_provider_s_lateness(lab: Lab) -> None:
    lab.provider.script = [Ambiguous("502")]
    lab.work()
    accepted = await lab.create(requirements=ANY)
    row = await lab.until(accepted.id, State.RUNNING)
    first, second = lab.operation(row.create_operation_id).attempts
    assert (first.outcome, second.outcome) == (Outcome.NOT_CREATED, Outcome.CREATED)
    assert first.offer_id != second.offer_id  # others first
    assert second.started_at - first.started_at > lab.provider.capabilities.late_create_s * SECOND


@in_virtual_time
async def test_an_unusable_machine_is_returned_before_the_next_attempt(lab: Lab) -> None:
    made: list[SimMachine] = []
    good = lab.provider.launch

    async def launch(spec: object) -> object:
        if made:
            assert made[0].gone_at is not None
            return await good(spec)  # type: ignore[arg-type]
        made.append(lab.market.make(spec))  # type: ignore[arg-type]
        return CreatedButUnusable(made[0].id, "bid too low")

    lab.provider.launch = launch  # type: ignore[method-assign, assignment]
    lab.work()
    accepted = await lab.create(requirements=ANY)
    row = await lab.until(accepted.id, State.RUNNING)
    assert row.attempt == 2
    assert lab.posted(row.id, LedgerKind.PROVIDER_COST) > 0  # the first one cost something
    assert lab.posted(row.id) == 0


@in_virtual_time
async def test_a_machine_that_never_answers_fails_in_time_and_is_returned(lab: Lab) -> None:
    make = lab.market.make

    def never(spec: object) -> SimMachine:
        machine = make(spec)  # type: ignore[arg-type]
        machine.ready_at += 10**15
        return machine

    lab.market.make = never  # type: ignore[method-assign]
    lab.work()
    accepted = await lab.create()
    row = await lab.until(accepted.id, State.FAILED)
    assert row.state_reason == "START_TIMEOUT"
    assert lab.operation(row.create_operation_id).attempts[0].outcome is Outcome.NOT_READY
    settled = await lab.settled(row.id)
    assert settled.gone_at is not None
    assert lab.posted(row.id) == 0
    assert lab.market.alive == []


@pytest.mark.parametrize("after_s", [0.0, 0.3, 1.0, 30.0])
def test_terminate_ends_at_any_moment(after_s: float) -> None:
    @in_virtual_time
    async def play(lab: Lab) -> None:
        lab.work()
        accepted = await lab.create()
        await asyncio.sleep(after_s)
        ended = await instances.terminate(lab.core, CALLER, accepted.id, force=True, request=END)
        again = await instances.terminate(lab.core, CALLER, accepted.id, force=False, request=END)
        assert again.id == ended.id
        row = await lab.settled(accepted.id)
        assert row.state is State.TERMINATED
        assert lab.operation(ended.id).state is OperationState.SUCCEEDED
        ran = row.run_at is not None
        assert lab.operation(row.create_operation_id).state is (
            OperationState.SUCCEEDED if ran else OperationState.CANCELLED
        )
        assert lab.market.alive == []

    play()


@in_virtual_time
async def test_cancel_gives_the_machine_back(lab: Lab) -> None:
    lab.work()
    accepted = await lab.create()
    await lab.until(accepted.id, State.STARTING)
    await operations.cancel(lab.core, CALLER, accepted.create_operation_id)
    row = await lab.settled(accepted.id)
    operation = lab.operation(row.create_operation_id)
    assert (row.state, operation.state) == (State.TERMINATED, OperationState.CANCELLED)
    assert operation.cancel_requested


@in_virtual_time
async def test_a_reservation_ends_on_time_and_extend_moves_it(lab: Lab) -> None:
    lab.work()
    row = await lab.running(reservation_s=100, max_duration_s=200)
    with pytest.raises(OutOfRange, match="50s past"):
        await instances.extend(lab.core, CALLER, row.id, 150, RequestKey("extend"))
    await instances.extend(lab.core, CALLER, row.id, 60, RequestKey("extend"))
    ended = await lab.until(row.id, State.STOPPING)
    assert ended.state_reason == "LEASE_EXPIRED"
    assert 160 <= (lab.clock.now() - row.created_at) / SECOND < 162
    await lab.settled(row.id)
    with pytest.raises(FailedPrecondition, match="has ended"):
        await instances.extend(lab.core, CALLER, row.id, 60, RequestKey("extend"))


@in_virtual_time
async def test_the_hard_maximum_ends_it_whatever_else_is_said(lab: Lab) -> None:
    lab.work()
    row = await lab.running(max_duration_s=120)
    ended = await lab.until(row.id, State.STOPPING)
    assert ended.state_reason == "MAX_DURATION"
    assert 120 <= (lab.clock.now() - row.created_at) / SECOND < 122


@in_virtual_time
async def test_idleness_ends_it_after_the_timeout(lab: Lab) -> None:
    lab.work()
    row = await lab.running(idle_timeout_s=90)
    machine = lab.market.machines[row.machine_id]
    ended = await lab.until(row.id, State.STOPPING)
    assert ended.state_reason == "IDLE"
    idle_s = (lab.clock.now() - max(machine.idle_from or 0, row.run_at or 0)) / SECOND
    assert 90 <= idle_s < 90 + 12


@in_virtual_time(meter_interval_s=20.0, hold_window_s=40.0)
async def test_an_exhausted_budget_ends_it_before_it_is_overdrawn(lab: Lab) -> None:
    price = 410_000_000
    await lab.limit(cost(price, 0, 300 * SECOND))
    lab.work()
    row = await lab.running()
    ended = await lab.until(row.id, State.STOPPING)
    assert ended.state_reason == "BUDGET_EXHAUSTED"
    settled = await lab.settled(row.id)
    assert 240 < (settled.end_at or 0) / SECOND - (settled.run_at or 0) / SECOND <= 300
    assert lab.budget().spent_nano == lab.posted(row.id) <= lab.budget().limit_nano
    assert lab.budget().held_nano == 0
    assert lab.alerts() == [50, 80, 100]


@in_virtual_time
async def test_a_create_that_a_budget_cannot_hold_is_refused_and_leaves_nothing(lab: Lab) -> None:
    await lab.limit(1)
    with pytest.raises(ResourceExhausted, match="budget 'b' cannot hold"):
        await lab.create()
    assert lab.disk.rows.get(instances.Instance, {}) == {}
    assert lab.budget().held_nano == 0


@pytest.mark.parametrize(
    ("policy", "expected_s"),
    [
        (BillingPolicy(), None),
        (BillingPolicy(minimum_s=3600), 3600),
        (BillingPolicy(BillingKind.PREPAID, prepaid_s=7200), 7200),
    ],
)
def test_charges_follow_the_policy(policy: BillingPolicy, expected_s: int | None) -> None:
    @in_virtual_time
    async def play(lab: Lab) -> None:
        lab.work()
        row = await lab.running(billing=policy)
        await asyncio.sleep(500)
        await instances.terminate(lab.core, CALLER, row.id, force=True, request=END)
        ended = await lab.settled(row.id)
        assert ended.run_at is not None
        assert ended.end_at is not None
        used = ended.end_at - ended.run_at
        assert lab.posted(row.id) == cost(row.price_nano_per_hour, 0, expected_s * SECOND if expected_s else used)
        assert ended.gone_at is not None
        assert ended.machine_at is not None
        spent = cost(row.price_nano_per_hour, ended.machine_at, ended.gone_at)
        assert lab.posted(row.id, LedgerKind.PROVIDER_COST) == spent

    play()


@in_virtual_time
async def test_entries_are_cut_at_hours(lab: Lab) -> None:
    lab.work()
    row = await lab.running()
    await asyncio.sleep(2 * 3600)
    entries = [e for e in lab.disk.table(LedgerEntry).values() if e.instance_id == row.id]
    assert entries
    assert all(e.start_at // HOUR == (e.end_at - 1) // HOUR for e in entries)


@in_virtual_time
async def test_a_broken_machine_fails_and_a_preempted_one_says_so(lab: Lab) -> None:
    lab.work()
    for status, reason in ((MachineStatus.FAILED, "MACHINE_LOST"), (MachineStatus.PREEMPTED, "PREEMPTED")):
        row = await lab.running()
        lab.market.machines[row.machine_id].status = status
        failed = await lab.until(row.id, State.FAILED)
        assert failed.state_reason == reason
        settled = await lab.settled(row.id)
        assert settled.gone_at is not None
    assert lab.market.alive == []


@in_virtual_time
async def test_a_machine_that_vanished_is_a_ghost_after_two_complete_listings(lab: Lab) -> None:
    lab.work()
    row = await lab.running()
    for task in lab.tasks:
        task.cancel()
    del lab.market.machines[row.machine_id]
    await lab.sweeper.sweep()
    assert lab.instance(row.id).state is State.RUNNING
    await asyncio.sleep(6)
    await lab.sweeper.sweep()
    gone = lab.instance(row.id)
    assert (gone.state, gone.state_reason, gone.settled) == (State.FAILED, "MACHINE_LOST", True)


@in_virtual_time
async def test_an_incomplete_listing_proves_nothing(lab: Lab) -> None:
    lab.work()
    row = await lab.running()
    lab.market.calm = False
    lab.market.faults.incomplete_listing = 1.0
    for _ in range(5):
        await lab.sweeper.sweep()
        await asyncio.sleep(10)
    assert lab.instance(row.id).state is State.RUNNING


def orphan(lab: Lab, label: str) -> SimMachine:
    machine = SimMachine(f"m-{label[-6:]}", label, lab.clock.now(), 0, 0, 1)
    lab.market.machines[machine.id] = machine
    return machine


@in_virtual_time
async def test_an_orphan_is_destroyed_once_seen_twice(lab: Lab) -> None:
    lab.work()
    row = await lab.running()
    stray = orphan(lab, ids.label("lab", row.id, row.attempt + 1))
    await lab.sweeper.sweep()
    assert stray.stop_at is None
    assert lab.sweeper.report.orphans == 1
    for _ in range(8):
        await asyncio.sleep(6)
        await lab.sweeper.sweep()
    assert stray.gone_at is not None
    assert lab.instance(row.id).state is State.RUNNING


@in_virtual_time
async def test_foreign_labels_are_reported_never_destroyed(lab: Lab) -> None:
    lab.work()
    row = await lab.running()
    never_issued = orphan(lab, ids.label("lab", "inst_" + "0" * 26, 1))
    other = orphan(lab, ids.label("elsewhere", row.id, 9))
    for _ in range(3):
        await lab.sweeper.sweep()
        await asyncio.sleep(6)
    assert lab.sweeper.report.foreign == 1
    assert never_issued.stop_at is None
    assert other.stop_at is None


@in_virtual_time
async def test_a_copied_database_harms_nothing(lab: Lab) -> None:
    lab.work()
    row = await lab.running(reservation_s=100)
    for task in lab.tasks:
        task.cancel()
    copy = replace(lab.core, deployment_id="copy")
    lab.tasks.append(asyncio.create_task(InstanceLoop(copy, "copy").run()))
    sweeper = Sweeper(copy, lab.provider)
    for _ in range(5):
        await asyncio.sleep(60)
        await sweeper.sweep()
    assert lab.instance(row.id).state is State.RUNNING
    assert lab.market.machines[row.machine_id].stop_at is None


@in_virtual_time
async def test_a_lost_hold_on_another_s_row_does_not_end_the_loop(lab: Lab) -> None:
    lab.work()
    row = await lab.running()
    await asyncio.sleep(5)
    worker = lab.tasks[0]
    await lab.put(replace(lab.instance(row.id), label="gp-other-" + row.label.split("-", 2)[2]))
    # Somebody else claims it between our claim and our word on it.
    real = lab.core.store.get

    async def get(scope: object, table: object, id: str) -> object:
        found = await real(scope, table, id)  # type: ignore[call-overload]
        if table is Instance and id == row.id:
            item = lab.disk.table(WorkItem)[id]
            lab.disk.table(WorkItem)[id] = replace(item, fence=item.fence + 1)
        return found

    lab.core.store.get = get  # type: ignore[method-assign, assignment]
    await asyncio.sleep(60)
    assert not worker.done()


@in_virtual_time
async def test_a_provider_outage_delays_and_loses_nothing(lab: Lab) -> None:
    lab.work()
    row = await lab.running(reservation_s=120)
    lab.market.calm = False
    lab.market.faults.call_error = 1.0
    stopping = await lab.until(row.id, State.STOPPING)  # leases do not wait for providers
    assert stopping.state_reason == "LEASE_EXPIRED"
    await asyncio.sleep(600)
    assert not lab.instance(row.id).settled
    lab.market.calm = True
    settled = await lab.settled(row.id)
    assert settled.gone_at is not None


@in_virtual_time
async def test_another_host_s_machine_is_not_judged(lab: Lab) -> None:
    lab.work()
    row = await lab.running()
    await asyncio.sleep(5)  # the looks that follow a move are over
    await lab.put(replace(lab.instance(row.id), host_id="other-host"))
    lab.market.machines[row.machine_id].status = MachineStatus.FAILED
    await lab.put(replace(lab.disk.table(WorkItem)[row.id], host_id="other-host", lease_until=0))
    await asyncio.sleep(120)
    assert lab.instance(row.id).state is State.RUNNING


@in_virtual_time
async def test_a_lost_request_for_a_named_offer_is_tried_again_but_not_for_ever(lab: Lab) -> None:
    lab.provider.script = [Ambiguous("502")]
    lab.work()
    row = await lab.running()
    assert [a.outcome for a in lab.operation(row.create_operation_id).attempts] == [
        Outcome.NOT_CREATED,
        Outcome.CREATED,
    ]
    lab.provider.script = [Ambiguous("502")] * 19
    accepted = await lab.create()
    failed = await lab.until(accepted.id, State.FAILED)
    assert failed.state_reason == "NO_CAPACITY"
    assert len(lab.operation(failed.create_operation_id).attempts) == 10


@in_virtual_time
async def test_wreckage_of_a_crashed_launch_is_returned_and_the_create_goes_on(lab: Lab) -> None:
    good = lab.provider.launch
    made: list[SimMachine] = []

    async def launch(spec: object) -> object:
        if made:
            assert made[0].gone_at is not None
            return await good(spec)  # type: ignore[arg-type]
        made.append(lab.market.make(spec))  # type: ignore[arg-type]
        made[0].doomed_at = lab.clock.now()
        raise ProviderError("cut")

    lab.provider.launch = launch  # type: ignore[method-assign, assignment]
    lab.work()
    row = await lab.running()
    assert row.attempt == 2
    assert "half-made" in lab.operation(row.create_operation_id).attempts[0].message


@in_virtual_time
async def test_budgets_hold_what_would_be_bought_and_more_only_when_it_comes_to_it(lab: Lab) -> None:
    window_s = lab.core.policy.hold_window_s
    await lab.limit(cost(405_000_000, 0, int(window_s * SECOND)))  # enough for the cheapest only
    lab.provider.script = [Stockout("none left")]
    lab.work()
    accepted = await lab.create(requirements=ANY)
    assert lab.budget().held_nano == cost(400_000_000, 0, int(window_s * SECOND))
    row = await lab.settled(accepted.id)
    assert (row.state, row.state_reason) == (State.TERMINATED, "BUDGET_EXHAUSTED")
    assert len(lab.provider.asked) == 1
    assert lab.budget().held_nano == 0


@in_virtual_time
async def test_a_lease_ends_a_machine_that_never_came_up(lab: Lab) -> None:
    make = lab.market.make

    def slow(spec: object) -> SimMachine:
        machine = make(spec)  # type: ignore[arg-type]
        machine.ready_at += 50 * SECOND
        return machine

    lab.market.make = slow  # type: ignore[method-assign]
    lab.work()
    accepted = await lab.create(reservation_s=30)
    row = await lab.settled(accepted.id)
    operation = lab.operation(row.create_operation_id)
    assert (row.state, row.state_reason) == (State.TERMINATED, "LEASE_EXPIRED")
    assert operation.failure is not None
    assert (operation.state, operation.failure.reason) == (OperationState.CANCELLED, "LEASE_EXPIRED")
