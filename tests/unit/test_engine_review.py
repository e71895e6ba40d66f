"""The engine where marketplaces, restarts and credentials meet: nothing accepted is lost, nothing paid is forgotten."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any, cast

import pytest

from controlplane.domain.account import Account
from controlplane.domain.billing import HOUR, SECOND
from controlplane.domain.credential import ProviderCredential
from controlplane.domain.errors import FailedPrecondition
from controlplane.domain.ledger import LedgerKind
from controlplane.domain.operation import Outcome
from controlplane.domain.requirements import Requirements
from controlplane.domain.state import State
from controlplane.domain.stray import StrayKind, StrayMachine
from controlplane.domain.template import Constraint, Template
from controlplane.domain.work import WorkItem
from controlplane.ports.provider import AuthFailed, Listing, Machine, ProviderError, RateLimited, Stockout
from controlplane.reconcile.loop import InstanceLoop, LoopTimes
from controlplane.usecases import instances, strays
from controlplane.usecases.idempotency import RequestKey
from controlplane.usecases.offerbook import OfferBook
from controlplane.usecases.wishes import CreateInstance
from tests.simulation.world import Faults, Market
from tests.support.fakes import START
from tests.support.lab import CALLER, Lab, ScriptedProvider, in_virtual_time

ANY = Requirements(gpu_types=("RTX 4090",))


def beside(lab: Lab, name: str = "beta") -> ScriptedProvider:
    """A second marketplace of the deployment, dearer than the first."""
    provider = ScriptedProvider(Market(name, lab.loop, random.Random(2), Faults(), calm=True))
    cast(dict[str, Any], lab.core.providers)[name] = provider
    listed(lab, provider)
    return provider


def listed(lab: Lab, provider: ScriptedProvider) -> None:
    """The book has the provider's offers."""
    dearer = 10 * (provider.name != "alpha") + 1
    offers = [replace(o, price_nano_per_hour=o.price_nano_per_hour * dearer) for o in provider.catalogue()]
    lab.core.offers.update(provider.name, tuple(offers), lab.clock.now())


def reborn(lab: Lab) -> InstanceLoop:
    """Another life of the process: the same store, an empty book."""
    return InstanceLoop(replace(lab.core, offers=OfferBook()), "next life", LoopTimes())


async def no_turn(call: str) -> None:
    """What an adapter's breaker says to a launch while its provider is out."""
    if call == "launch":
        raise ProviderError("the provider is out")


@in_virtual_time
async def test_a_provider_that_gives_no_turn_is_passed_over(lab: Lab) -> None:
    beside(lab)
    lab.provider.admit = no_turn  # type: ignore[method-assign]
    lab.work()
    accepted = await lab.create(requirements=ANY)
    row = await lab.until(accepted.id, State.RUNNING, within_s=300)
    assert row.provider == "beta"


@in_virtual_time
async def test_waiting_for_a_turn_still_counts_against_the_providers_limit(lab: Lab) -> None:
    lab.provider.admit = no_turn  # type: ignore[method-assign]
    lab.work()
    accepted = await lab.create()
    await asyncio.sleep(5)
    item: WorkItem = lab.disk.table(WorkItem)[accepted.id]
    assert item.provider == "alpha"


@in_virtual_time
async def test_a_new_life_waits_for_the_offers_of_every_provider(lab: Lab) -> None:
    beside(lab)
    accepted = await lab.create()
    life = reborn(lab)
    life._core.offers.update("beta", (), lab.clock.now())
    lab.tasks.append(asyncio.create_task(life.run()))
    await asyncio.sleep(3)
    assert lab.instance(accepted.id).state is State.ACCEPTED
    life._core.offers.update("alpha", tuple(lab.provider.catalogue()), lab.clock.now())
    assert (await lab.until(accepted.id, State.RUNNING, within_s=300)).offer_id == "alpha-o1"


@in_virtual_time
async def test_a_new_life_waits_for_the_template_of_a_wish(lab: Lab) -> None:
    template = Template("tpl", "alpha", "t", "img", constraints=(Constraint("cuda", "gte", 12.0),))
    offers = tuple(replace(o, facts={"cuda": 11.0 + n}) for n, o in enumerate(lab.provider.catalogue()))
    lab.core.offers.update("alpha", offers, lab.clock.now())
    lab.core.offers.update_templates("alpha", (template,))
    accepted = await lab.create(requirements=ANY, template="tpl")
    life = reborn(lab)
    life._core.offers.update("alpha", offers, lab.clock.now())
    lab.tasks.append(asyncio.create_task(life.run()))
    await asyncio.sleep(3)
    life._core.offers.update_templates("alpha", (template,))
    assert (await lab.until(accepted.id, State.RUNNING, within_s=300)).offer_id == "alpha-o1"


@in_virtual_time
async def test_a_large_market_that_refuses_us_does_not_hide_the_others(lab: Lab) -> None:
    beside(lab)
    first = lab.provider.catalogue()[0]
    lab.core.offers.update("alpha", tuple(replace(first, id=f"alpha-x{n}") for n in range(1100)), lab.clock.now())
    lab.provider.script = [AuthFailed("no entry")]
    lab.work()
    accepted = await lab.create(requirements=ANY, max_price_nano_per_hour=10**12)
    row = await lab.until(accepted.id, State.RUNNING, within_s=300)
    assert row.provider == "beta"


@in_virtual_time
async def test_a_provider_that_asked_for_patience_is_waited_for_after_others_had_none(lab: Lab) -> None:
    beta = beside(lab)
    lab.core.offers.update("alpha", tuple(lab.provider.catalogue()[:1]), lab.clock.now())
    lab.core.offers.update("beta", tuple(beta.catalogue()[1:2]), lab.clock.now())
    lab.provider.script, beta.script = [RateLimited(2.0)], [Stockout("none left")]
    lab.work()
    accepted = await lab.create(requirements=ANY)
    row = await lab.until(accepted.id, State.RUNNING, within_s=300)
    outcomes = [a.outcome for a in lab.operation(row.create_operation_id).attempts]
    assert outcomes == [Outcome.RATE_LIMITED, Outcome.STOCKOUT, Outcome.CREATED]


@pytest.mark.parametrize("capability", ["destroy_is_end", "extend"])
def test_a_machine_is_destroyed_although_it_cannot_be_looked_at(capability: str) -> None:
    @in_virtual_time
    async def play(lab: Lab) -> None:
        lab.provider.capabilities = replace(lab.provider.capabilities, **{capability: True})
        lab.work()
        row = await lab.running()

        async def unreadable(machine_id: str) -> Machine:
            raise ProviderError("the answer is not what its documentation says")

        lab.provider.describe = unreadable  # type: ignore[method-assign]
        await instances.terminate(lab.core, CALLER, row.id, force=True, request=RequestKey("end"))
        await asyncio.sleep(300)
        assert not lab.market.alive

    play()


@in_virtual_time
async def test_two_lone_gaps_in_the_listing_are_no_ghost_of_a_machine_that_answers(lab: Lab) -> None:
    lab.provider.capabilities = replace(lab.provider.capabilities, start_deadline_s=3600.0)
    make = lab.market.make

    def slow(spec: Any) -> Any:
        machine = make(spec)
        machine.ready_at = machine.made_at + 600 * SECOND
        return machine

    lab.market.make = slow  # type: ignore[method-assign]
    lab.work()
    accepted = await lab.create()
    await lab.until(accepted.id, State.STARTING)
    complete = lab.provider.list

    async def empty(label_prefix: str) -> Listing:
        return Listing(True, ())

    for listing in (empty, complete, empty):
        lab.provider.list = listing  # type: ignore[method-assign]
        await lab.sweeper.sweep()
        await asyncio.sleep(60)
    assert lab.instance(accepted.id).state is State.STARTING


@in_virtual_time
async def test_a_stray_under_an_accounts_credential_is_for_that_account_only(lab: Lab) -> None:
    await lab.put(Account("acct_b", "b", "USD", 100, START))
    credential = ProviderCredential("cred_b", "acct_b", "alpha", "mine", "sealed", "f", START)
    stray = StrayMachine("stray_1", "alpha", "cred_b", "m1", "label", StrayKind.FOREIGN, "running", 1, START, START)
    await lab.put(credential, stray)
    lab.core.credentials.install(credential, lab.provider)
    with pytest.raises(FailedPrecondition):
        await strays.adopt(lab.core, "stray_1", "acct_a")
    assert (await strays.adopt(lab.core, "stray_1", "acct_b")).account_id == "acct_b"


@in_virtual_time
async def test_a_market_known_through_an_accounts_credential_has_its_limit_too(lab: Lab) -> None:
    hanging = ScriptedProvider(Market("beta", lab.loop, random.Random(2), Faults(), calm=True))

    async def hang(call: str) -> None:
        await asyncio.sleep(10**6)

    hanging.admit = hang  # type: ignore[method-assign]
    credential = ProviderCredential("cred_a", "acct_a", "beta", "mine", "sealed", "f", START)
    lab.core.credentials.install(credential, hanging)
    listed(lab, hanging)
    lab.worker = InstanceLoop(lab.core, "worker", LoopTimes(in_flight=12))
    for n in range(12):
        await instances.create(lab.core, CALLER, CreateInstance(offer_id="beta-o1"), RequestKey(f"n{n}"))
    lab.work()
    await asyncio.sleep(1)
    accepted = await lab.create()
    await lab.until(accepted.id, State.RUNNING, within_s=15)


@in_virtual_time
async def test_what_runs_is_charged_while_nobody_can_act_under_its_credential(lab: Lab) -> None:
    credential = ProviderCredential("cred_a", "acct_a", "alpha", "mine", "sealed", "f", START)
    lab.core.credentials.install(credential, lab.provider)
    lab.work()
    row = await lab.running()
    assert row.credential_id == "cred_a"
    lab.core.credentials.remove("cred_a")
    await asyncio.sleep(600)
    assert lab.posted(row.id, LedgerKind.CHARGE) >= row.price_nano_per_hour * 500 // 3600


@in_virtual_time(meter_interval_s=20.0, hold_window_s=40.0)
async def test_a_payment_whose_answer_was_lost_is_not_made_twice_while_it_does_not_show_yet(lab: Lab) -> None:
    lab.provider.capabilities = replace(lab.provider.capabilities, extend=True, listing_delay_s=60.0)
    offers = tuple(replace(offer, prepaid_s=3600) for offer in lab.provider.catalogue())
    lab.core.offers.update("alpha", offers, lab.clock.now())
    paid_at: list[int] = []
    describe = lab.provider.describe

    async def extend(machine_id: str, seconds: int) -> None:
        paid_at.append(lab.clock.now())
        if len(paid_at) == 1:
            raise ProviderError("the answer was lost, and the money is gone")

    async def late(machine_id: str) -> Machine:
        machine = await describe(machine_id)
        shown = sum(at < lab.clock.now() - 30 * SECOND for at in paid_at)
        return replace(machine, paid_until=(machine.created_at or 0) + (1 + shown) * HOUR)

    lab.provider.extend = extend  # type: ignore[method-assign]
    lab.provider.describe = late  # type: ignore[method-assign]
    lab.work()
    await lab.create(requirements=ANY, reservation_s=int(2.5 * 3600))
    await asyncio.sleep(1.5 * 3600)
    assert len(paid_at) == 1
