"""The loops at marketplaces, in virtual time: replacing machines that never became usable, ways in, lost answers of
destroys, paying in advance, and the memory of what could not be had."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from controlplane.domain.billing import HOUR, SECOND, cost
from controlplane.domain.errors import FailedPrecondition, NotFound, Unavailable
from controlplane.domain.ledger import LedgerEntry, LedgerKind
from controlplane.domain.operation import OperationState, Outcome
from controlplane.domain.principal import ALL
from controlplane.domain.requirements import Requirements
from controlplane.domain.state import State
from controlplane.ports.probe import ProbeResult
from controlplane.ports.provider import Machine, MachineStatus, ProviderError, SshEndpoint, Stockout
from controlplane.ports.store import Transaction, UnitOfWork
from controlplane.reconcile.posting import post
from controlplane.reconcile.stop import BILL_PATIENCE_S
from controlplane.reconcile.tenure import Rows
from controlplane.usecases import instances
from controlplane.usecases.failure_memory import recall
from controlplane.usecases.idempotency import RequestKey
from controlplane.usecases.offerbook import OfferBook
from controlplane.usecases.wishes import CreateInstance
from tests.support.lab import CALLER, Lab, in_virtual_time

ANY = Requirements(gpu_types=("RTX 4090",))
NEVER = 10**18
WISH = CreateInstance(requirements=ANY)


def never_ready(lab: Lab, count: int) -> None:
    """The next `count` machines never come up."""
    make, left = lab.market.make, count

    def made(spec: Any) -> Any:
        nonlocal left
        machine = make(spec)
        if left:
            machine.ready_at, left = NEVER, left - 1
        return machine

    lab.market.make = made  # type: ignore[method-assign]


def seen_as(lab: Lab, view: Callable[[Machine], Machine]) -> None:
    """What the provider tells of machines goes through `view`."""
    describe = lab.provider.describe

    async def told(machine_id: str) -> Machine:
        return view(await describe(machine_id))

    lab.provider.describe = told  # type: ignore[method-assign]


def first_destroy_unanswered(lab: Lab) -> list[int]:
    """The first destroy works and its answer is lost. When each was sent."""
    destroy, sent = lab.provider.destroy, list[int]()

    async def lossy(machine_id: str, *, grace_s: float) -> Any:
        sent.append(lab.clock.now())
        await destroy(machine_id, grace_s=0)
        if len(sent) == 1:
            await asyncio.sleep(7)
            raise ProviderError("the answer was lost")
        return await destroy(machine_id, grace_s=0)

    lab.provider.destroy = lossy  # type: ignore[method-assign]
    return sent


def billed(lab: Lab, nano: int, after: int) -> list[int]:
    """The bill of a machine cannot be had so many times. When it was asked for."""
    asked: list[int] = []

    async def bill(machine_id: str, since: int) -> int:
        asked.append(lab.clock.now())
        if len(asked) <= after:
            raise ProviderError("status 500")
        return nano

    lab.provider.bill = bill  # type: ignore[method-assign]
    return asked


def answered(lab: Lab, probe: Callable[[SshEndpoint], ProbeResult]) -> None:
    """Machines' SSH servers answer as `probe` says."""

    async def answer(endpoint: SshEndpoint, private_seed: bytes, deadline_s: float) -> ProbeResult:
        await asyncio.sleep(0.1)
        return probe(endpoint)

    lab.core.prober.probe = answer  # type: ignore[method-assign]


def offered(lab: Lab, **changes: Any) -> None:
    """The market's offers with these changes."""
    offers = tuple(replace(offer, **changes) for offer in lab.provider.catalogue())
    lab.core.offers.update("alpha", offers, lab.clock.now())


def posted_by_attempt(lab: Lab, id: str) -> dict[int, int]:
    """Provider cost by attempt."""
    found: dict[int, int] = {}
    for entry in lab.disk.table(LedgerEntry).values():
        if entry.instance_id == id and entry.kind is LedgerKind.PROVIDER_COST:
            found[entry.attempt] = found.get(entry.attempt, 0) + entry.amount_nano
    return found


@in_virtual_time
async def test_a_machine_that_never_becomes_usable_is_returned_and_replaced(lab: Lab) -> None:
    never_ready(lab, 1)
    lab.work()
    accepted = await lab.create(requirements=ANY)
    row = await lab.until(accepted.id, State.RUNNING)
    operation = lab.operation(row.create_operation_id)
    assert operation.state is OperationState.SUCCEEDED
    assert [(a.outcome, a.offer_id, a.retry_of) for a in operation.attempts] == [
        (Outcome.NOT_READY, "alpha-o0", 0),
        (Outcome.CREATED, "alpha-o1", 1),
    ]
    assert "not usable in time" in operation.attempts[0].message
    first, second = lab.market.machines.values()
    assert first.gone_at is not None
    assert first.gone_at <= second.made_at, "never two at once"
    assert posted_by_attempt(lab, row.id)[1] >= cost(first.price, first.made_at, first.gone_at)
    assert row.ssh_host_key == "ssh-ed25519 host"


@in_virtual_time
async def test_it_is_replaced_as_often_as_the_wish_allows(lab: Lab) -> None:
    never_ready(lab, 9)
    lab.work()
    accepted = await lab.create(requirements=ANY, max_retries=1)
    row = await lab.settled(accepted.id)
    assert (row.state, row.state_reason) == (State.FAILED, "START_TIMEOUT")
    outcomes = [a.outcome for a in lab.operation(row.create_operation_id).attempts]
    assert outcomes == [Outcome.NOT_READY, Outcome.NOT_READY]
    assert not lab.market.alive


@in_virtual_time
async def test_a_named_offer_is_not_replaced_by_another(lab: Lab) -> None:
    never_ready(lab, 1)
    lab.work()
    accepted = await lab.create()
    row = await lab.settled(accepted.id)
    assert (row.state_reason, len(lab.operation(row.create_operation_id).attempts)) == ("START_TIMEOUT", 1)


@in_virtual_time
async def test_an_end_that_is_asked_for_meanwhile_stops_the_replacing(lab: Lab) -> None:
    never_ready(lab, 9)
    lab.work()
    accepted = await lab.create(requirements=ANY)
    await lab.until(accepted.id, State.STARTING)
    while lab.instance(accepted.id).state is not State.ALLOCATING:
        await asyncio.sleep(0.01)
    await instances.terminate(lab.core, CALLER, accepted.id, force=False, request=RequestKey("end"))
    row = await lab.settled(accepted.id)
    assert row.state is State.TERMINATED
    assert len(lab.market.machines) == 1
    assert not lab.market.alive


@in_virtual_time
async def test_keys_may_be_refused_for_as_long_as_they_take_to_install(lab: Lab) -> None:
    lab.provider.capabilities = replace(lab.provider.capabilities, key_install_s=30.0, start_deadline_s=600.0)
    accepts_from = [NEVER]
    answered(
        lab,
        lambda way: (
            ProbeResult(True, "ssh-ed25519 k")
            if lab.clock.now() >= accepts_from[0]
            else ProbeResult(False, "ssh-ed25519 k", "SSH refused the probe key", refused=True)
        ),
    )
    lab.work()
    late = await lab.create(requirements=ANY, max_retries=0)
    await lab.until(late.id, State.STARTING)
    while lab.instance(late.id).refused_at is None:
        await asyncio.sleep(0.5)
    refused_at = lab.clock.now()
    row = await lab.settled(late.id)
    assert (row.state_reason, row.state_message.endswith("SSH refused the probe key")) == ("NOT_READY", True)
    assert row.end_at is not None
    assert 25 * SECOND < row.end_at - refused_at < 40 * SECOND, "long before the deadline"
    accepts_from[0] = lab.clock.now() + 45 * SECOND
    assert (await instances.create(
        lab.core, CALLER, CreateInstance(requirements=ANY), RequestKey("second")
    )).id  # fmt: skip
    second = next(r for r in lab.disk.table(type(row)).values() if r.id != row.id)
    assert (await lab.until(second.id, State.RUNNING)).refused_at is None


@in_virtual_time
async def test_another_host_key_than_the_first_is_final(lab: Lab) -> None:
    met: list[str] = []

    def probe(way: SshEndpoint) -> ProbeResult:
        met.append(way.host_key)
        if not way.host_key:
            return ProbeResult(False, "ssh-ed25519 first", "the probe command ended with 1")
        return ProbeResult(False, "ssh-ed25519 other", "SSH presented another host key", permanent=True)

    answered(lab, probe)
    lab.work()
    accepted = await lab.create(requirements=ANY, max_retries=0)
    row = await lab.settled(accepted.id)
    assert met == ["", "ssh-ed25519 first"]
    assert row.state_reason == "NOT_READY"


@in_virtual_time
async def test_whichever_way_in_answers_is_used(lab: Lab) -> None:
    proxy = SshEndpoint("proxy", 10022, "root")
    seen_as(lab, lambda m: replace(m, ssh_also=(proxy,)) if m.ssh else m)
    answered(lab, lambda way: ProbeResult(way.host == "proxy", "ssh-ed25519 k", "" if way.host == "proxy" else "no"))
    lab.work()
    row = await lab.running()
    assert (row.ssh_host, row.ssh_port) == ("proxy", 10022)


@in_virtual_time
async def test_an_address_that_moved_is_followed(lab: Lab) -> None:
    lab.work()
    row = await lab.running()
    seen_as(lab, lambda m: replace(m, ssh=SshEndpoint("elsewhere", 2222, "root")) if m.ssh else m)
    await asyncio.sleep(15)
    assert (lab.instance(row.id).ssh_host, lab.instance(row.id).ssh_port) == ("elsewhere", 2222)
    assert lab.instance(row.id).ssh_host_key == row.ssh_host_key


@in_virtual_time
async def test_a_destroy_whose_answer_was_lost_counts_from_when_it_was_sent(lab: Lab) -> None:
    lab.provider.capabilities = replace(lab.provider.capabilities, destroy_is_end=True)
    sent = first_destroy_unanswered(lab)
    lab.work()
    row = await lab.running()
    await instances.terminate(lab.core, CALLER, row.id, force=True, request=RequestKey("end"))
    ended = await lab.settled(row.id)
    assert len(sent) == 1, "a look showed that the first had worked"
    assert ended.gone_at is not None
    assert abs(ended.gone_at - sent[0]) < SECOND // 10
    assert ended.machine_at is not None
    owed = cost(ended.price_nano_per_hour, ended.machine_at, ended.gone_at)
    assert lab.posted(row.id, LedgerKind.PROVIDER_COST) == owed


@in_virtual_time(meter_interval_s=20.0, hold_window_s=40.0)
async def test_what_is_paid_in_advance_is_paid_on_in_time_and_not_past_the_end(lab: Lab) -> None:
    lab.provider.capabilities = replace(lab.provider.capabilities, extend=True)
    offered(lab, prepaid_s=3600)
    paid: dict[str, int] = {}

    async def extend(machine_id: str, seconds: int) -> None:
        paid[machine_id] = paid.get(machine_id, 1) + seconds // 3600
        if paid[machine_id] == 2:
            raise ProviderError("the answer was lost, and the money is gone")

    lab.provider.extend = extend  # type: ignore[method-assign]

    def paid_view(machine: Machine) -> Machine:
        hours = paid.get(machine.id, 1)
        return replace(machine, paid_until=(machine.created_at or 0) + hours * HOUR)

    seen_as(lab, paid_view)
    lab.work()
    accepted = await lab.create(requirements=ANY, reservation_s=int(2.5 * 3600))
    row = await lab.until(accepted.id, State.TERMINATED, within_s=20_000)
    assert paid == {row.machine_id: 3}
    assert row.run_at is not None
    assert lab.posted(row.id, LedgerKind.PROVIDER_COST) == 3 * row.price_nano_per_hour


@in_virtual_time
async def test_a_machine_at_the_end_of_its_term_ends_in_words(lab: Lab) -> None:
    seen_as(lab, lambda m: replace(m, expires_at=(m.created_at or 0) + 100 * SECOND))
    lab.work()
    row = await lab.running()
    machine = lab.market.machines[row.machine_id]
    await asyncio.sleep(110)
    machine.stop_at = lab.clock.now()
    ended = await lab.settled(row.id)
    assert (ended.state, ended.state_reason) == (State.FAILED, "PROVIDER_EXPIRED")
    assert ended.provider_expire_at == machine.made_at + 100 * SECOND


@in_virtual_time
async def test_what_could_not_be_had_rests_for_everybody_and_for_the_next_life(lab: Lab) -> None:
    lab.provider.capabilities = replace(lab.provider.capabilities, rest_s=300.0)
    lab.provider.script = [Stockout("none left")]
    lab.work()
    first = await lab.create(requirements=ANY)
    await lab.until(first.id, State.RUNNING)
    book = OfferBook()
    book.update("alpha", tuple(lab.provider.catalogue()), lab.clock.now())
    await recall(replace(lab.core, offers=book))
    for offers in (lab.core.offers, book):
        ranking = offers.ranked(ANY, "USD", lab.clock.now())
        assert [c.offer.id for c in ranking.candidates] == ["alpha-o1", "alpha-o2", "alpha-o3"]
        assert sum(each.count for each in ranking.skipped if each.offer_id == "alpha-o0") == 1
    named = await instances.create(lab.core, CALLER, CreateInstance(offer_id="alpha-o0"), RequestKey("named"))
    assert (await lab.until(named.instance_id, State.RUNNING)).offer_id == "alpha-o0", "naming it overrides its rest"
    await asyncio.sleep(301)
    lab.core.offers.update("alpha", tuple(lab.provider.catalogue()), lab.clock.now())
    assert len(lab.core.offers.ranked(ANY, "USD", lab.clock.now()).candidates) == 4


@in_virtual_time
async def test_two_buyers_do_not_run_for_the_same_single_unit(lab: Lab) -> None:
    offered(lab, available=1)
    wishes = [CreateInstance(requirements=ANY) for _ in range(4)]
    made = [await instances.create(lab.core, CALLER, wish, RequestKey(f"wish-{n}")) for n, wish in enumerate(wishes)]
    lab.work()
    rows = [await lab.until(operation.instance_id, State.RUNNING) for operation in made]
    assert sorted(row.offer_id for row in rows) == ["alpha-o0", "alpha-o1", "alpha-o2", "alpha-o3"]
    assert all(len(lab.operation(row.create_operation_id).attempts) == 1 for row in rows)


@in_virtual_time
async def test_a_price_that_drifts_is_cost_and_not_charge(lab: Lab) -> None:
    lab.work()
    row = await lab.running()
    price: list[int] = [row.price_nano_per_hour * 2]
    seen_as(lab, lambda m: replace(m, price_nano_per_hour=price[0]))
    await asyncio.sleep(100)
    await instances.terminate(lab.core, CALLER, row.id, force=True, request=RequestKey("end"))
    ended = await lab.settled(row.id)
    assert ended.price_nano_per_hour == row.price_nano_per_hour
    charged, costs = lab.posted(row.id), lab.posted(row.id, LedgerKind.PROVIDER_COST)
    assert 1.5 * charged < costs < 2.2 * charged


@in_virtual_time
async def test_a_machine_lost_before_anybody_used_it_is_replaced(lab: Lab) -> None:
    seen_as(
        lab,
        lambda m: (
            replace(m, status=MachineStatus.FAILED, message="OCI runtime create failed")
            if m.id.endswith("m1") and m.status is not MachineStatus.GONE
            else m
        ),
    )
    lab.work()
    accepted = await lab.create(requirements=ANY)
    row = await lab.until(accepted.id, State.RUNNING)
    first = lab.operation(row.create_operation_id).attempts[0]
    assert (first.outcome, first.message) == (
        Outcome.NOT_READY, "the machine failed at the provider: OCI runtime create failed",
    )  # fmt: skip


@in_virtual_time
async def test_a_machine_that_the_provider_does_not_know_yet_is_not_gone(lab: Lab) -> None:
    lab.provider.capabilities = replace(lab.provider.capabilities, listing_delay_s=20.0)
    known_from = [NEVER]

    def told(machine: Machine) -> Machine:
        if lab.clock.now() < known_from[0]:
            return Machine(machine.id, "", MachineStatus.GONE)
        return machine

    seen_as(lab, told)
    lab.work()
    accepted = await lab.create(requirements=ANY)
    starting = await lab.until(accepted.id, State.STARTING)
    await asyncio.sleep(15)
    assert lab.instance(accepted.id).state is State.STARTING
    known_from[0] = lab.clock.now()
    row = await lab.until(accepted.id, State.RUNNING)
    assert row.machine_id == starting.machine_id
    assert len(lab.market.machines) == 1


@in_virtual_time
async def test_after_that_it_is_believed(lab: Lab) -> None:
    lab.provider.capabilities = replace(lab.provider.capabilities, listing_delay_s=20.0)
    seen_as(lab, lambda machine: Machine(machine.id, "", MachineStatus.GONE))
    lab.work()
    accepted = await lab.create(requirements=ANY, max_retries=0)
    row = await lab.until(accepted.id, State.FAILED)
    assert row.state_reason == "MACHINE_LOST"
    assert row.end_at is not None
    assert row.machine_at is not None
    assert row.end_at - row.machine_at >= 20 * SECOND


@in_virtual_time
async def test_what_is_on_the_market_is_not_denied_before_it_was_asked(lab: Lab) -> None:
    name = lab.provider.name
    fresh = replace(lab.core, offers=OfferBook())
    named, unknown = replace(WISH, offer_id=f"{name}-1", requirements=None), replace(WISH, offer_id="elsewhere-1")
    for wish in (WISH, named):
        with pytest.raises(Unavailable, match=f"the offers of {name} are not known yet") as refused:
            await instances.create(fresh, CALLER, wish, RequestKey("create"))
        assert (refused.value.reason, refused.value.retry_after_s) == ("PROVIDER_UNAVAILABLE", 2.0)
    with pytest.raises(NotFound):
        await instances.create(fresh, CALLER, replace(unknown, requirements=None), RequestKey("create"))
    fresh.offers.update(name, (), fresh.clock.now())
    with pytest.raises(FailedPrecondition):
        await instances.create(fresh, CALLER, WISH, RequestKey("create"))
    with pytest.raises(NotFound):
        await instances.create(fresh, CALLER, named, RequestKey("create"))


@in_virtual_time(meter_interval_s=20.0, hold_window_s=40.0)
async def test_a_machine_that_was_gone_before_its_last_entry_ended_is_corrected(lab: Lab) -> None:
    lab.work()
    row = await lab.running()
    await asyncio.sleep(300)
    row = lab.instance(row.id)
    assert row.cost_until is not None
    gone_at = row.cost_until - 30 * SECOND

    def gone(tx: Transaction) -> None:
        rows = Rows.of(tx, row)
        rows.instance = replace(rows.instance, gone_at=gone_at)
        for _ in range(2):
            post(rows, lab.core.policy)
        rows.save()

    await lab.core.store.run(UnitOfWork(ALL, Rows.loads(row), gone))
    assert row.machine_at is not None
    assert lab.posted(row.id, LedgerKind.PROVIDER_COST) == cost(row.price_nano_per_hour, row.machine_at, gone_at)


@in_virtual_time
async def test_a_bill_that_cannot_be_had_is_asked_for_again(lab: Lab) -> None:
    lab.provider.capabilities = replace(lab.provider.capabilities, destroy_is_end=True)
    asked = billed(lab, 12345, after=2)
    offered(lab, standby_nano_per_hour=1)
    lab.work()
    row = await lab.running()
    first_destroy_unanswered(lab)
    await instances.terminate(lab.core, CALLER, row.id, force=True, request=RequestKey("end"))
    settled = await lab.settled(row.id)
    assert len(asked) == 3
    assert lab.posted(row.id, LedgerKind.PROVIDER_COST) == 12345
    assert settled.end_at is not None
    assert settled.end_at <= asked[0] + SECOND, "the caller waits for no bill, and pays for no wait"
    assert settled.charged_until == settled.end_at
    assert (await instances.operation_of(lab.core, CALLER, settled.terminate_operation_id)).done_at == settled.end_at


@in_virtual_time
async def test_a_bill_that_is_never_told_is_what_was_seen(lab: Lab) -> None:
    lab.provider.capabilities = replace(lab.provider.capabilities, destroy_is_end=True)
    asked = billed(lab, 12345, after=NEVER)
    lab.work()
    row = await lab.running()
    sent = first_destroy_unanswered(lab)
    await instances.terminate(lab.core, CALLER, row.id, force=True, request=RequestKey("end"))
    ended = await lab.until(row.id, State.TERMINATED)
    assert ended.gone_at is None
    revisions = lab.instance(row.id).revision
    await asyncio.sleep(BILL_PATIENCE_S / 2)
    assert lab.instance(row.id).revision == revisions, "waiting for a bill is no news"
    await asyncio.sleep(BILL_PATIENCE_S)
    settled = lab.instance(row.id)
    assert settled.gone_at == sent[0]
    assert settled.machine_at is not None
    assert len(asked) < 60, "it is asked less and less often"
    assert lab.posted(row.id, LedgerKind.PROVIDER_COST) == cost(row.price_nano_per_hour, settled.machine_at, sent[0])
