"""Creating sessions: what the answer waits for, conflicts, keys, and lost answers. In virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controlplane.adapters.bus.memory import MemoryBus
from controlplane.adapters.secrets import MasterKeySecrets
from controlplane.adapters.store.postgres import PostgresStore
from controlplane.adapters.store.schema import migrate
from controlplane.adapters.store.sqlite import SqliteStore
from controlplane.adapters.system import SystemClock, SystemIds
from controlplane.api.dialects.shopper import sessions
from controlplane.api.dialects.shopper.errors import StaleInventory, render_error
from controlplane.api.dialects.shopper.sessions_refusals import InvalidRequest, ProvisionFailed
from controlplane.domain.account import Account, IdempotencyRecord
from controlplane.domain.errors import Aborted, AlreadyExists, NotFound, ResourceExhausted, Unavailable
from controlplane.domain.instance import Instance
from controlplane.domain.principal import ALL
from controlplane.domain.state import State
from controlplane.ports.provider import Ambiguous, AuthFailed, NoFunds, Rejected, Stockout, TooDear
from controlplane.ports.store import Get, UnitOfWork
from controlplane.usecases.core import Core
from tests.support.fakes import START
from tests.support.lab import AnyKey, Lab, in_virtual_time
from tests.support.postgres import new_database
from tests.unit.dialects.shopper_desk import Desk, desk_of, hub_over, only


@in_virtual_time
async def test_the_answer_comes_with_the_marketplaces_yes(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    made = await desk.create(disk_gb=100)
    assert lab.seconds < 5, "not after the ten seconds"
    assert len(lab.market.alive) == 1
    session = made.session
    assert (session.status, session.provider, session.gpu_type, session.disk_gb) == (
        "provisioning",
        "alpha",
        "RTX 4090",
        100,
    )
    assert made.ssh_private_key == "private1"
    assert only(lab).wish.ssh_public_keys == ("ssh-rsa public1",)
    assert not made.HasField("api_key")
    assert not made.HasField("retries_attempted")


@in_virtual_time
async def test_no_read_says_pending(lab: Lab) -> None:
    desk = await desk_of(lab)
    creating = asyncio.create_task(desk.create())
    seen = set()
    for turn in range(400):
        await asyncio.sleep(0.05)
        if turn == 20:
            lab.work()  # until then it is only accepted
        seen |= {(await desk.get(id)).status for id in await desk.list()}
    await creating
    assert seen == {"provisioning", "running"}
    assert await desk.list(status="pending") == []


@pytest.mark.parametrize("outcome", [Stockout("none left"), TooDear(10**12)])
def test_an_offer_that_is_gone_is_the_documented_503_and_leaves_nothing(outcome: Any) -> None:
    @in_virtual_time
    async def play(lab: Lab) -> None:
        desk = await desk_of(lab)
        lab.provider.script.append(outcome)
        lab.work()
        with pytest.raises(StaleInventory) as refused:
            await desk.create()
        shown = render_error(refused.value, "rid")
        assert shown.status == 503
        assert shown.body == {
            "error": "offer unavailable due to stale inventory", "error_type": "stale_inventory",
            "offer_id": "alpha-o1", "provider": "alpha", "retry_suggested": True,
            "message": "The selected offer is no longer available. "
            "Please refresh inventory and select a different offer.",
            "request_id": "rid",
        }  # fmt: skip
        assert await desk.list() == []
        with pytest.raises(NotFound):
            await desk.get(only(lab).id)
        assert (await desk.create()).session.status == "provisioning", "and the consumer may try the offer again"

    play()


@pytest.mark.parametrize(
    ("outcome", "said", "status", "kind"),
    [
        (Rejected("no such image"), "no such image", 400, "invalid_request"),
        (AuthFailed("x"), "credential", 500, "provision_failed"),
        (NoFunds("x"), "cannot pay", 500, "provision_failed"),
    ],
)
def test_a_refusal_that_is_not_about_the_offer_says_so(outcome: Any, said: str, status: int, kind: str) -> None:
    @in_virtual_time
    async def play(lab: Lab) -> None:
        desk = await desk_of(lab)
        lab.provider.script.append(outcome)
        lab.work()
        with pytest.raises((ProvisionFailed, InvalidRequest), match=said) as refused:
            await desk.create()
        shown = render_error(refused.value, "rid")
        assert shown.status == status
        assert (shown.body["error_type"], shown.body["retry_suggested"]) == (kind, False)
        assert await desk.list() == []

    play()


@in_virtual_time
async def test_undecided_for_ten_seconds_is_a_session(lab: Lab) -> None:
    desk = await desk_of(lab)
    made = await desk.create()  # nobody works on it
    assert 10 <= lab.seconds < 10.5
    assert made.session.status == "provisioning"
    lab.provider.script.append(Stockout("none left"))
    lab.work()
    failed = await lab.until(made.session.id, State.FAILED)
    shown = await desk.get(failed.id)  # its caller knows it
    assert (shown.status, shown.error) == ("failed", failed.state_message)
    assert await desk.list() == [failed.id]


@in_virtual_time
async def test_an_unclear_answer_of_the_marketplace_is_waited_out(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.provider.script.append(Ambiguous("502"))
    lab.work()
    made = await desk.create()
    assert made.session.status == "provisioning"
    await lab.until(made.session.id, State.RUNNING)


@in_virtual_time
async def test_a_server_that_stops_does_not_wait(lab: Lab) -> None:
    desk = await desk_of(lab)
    creating = asyncio.create_task(desk.create())
    await asyncio.sleep(1)
    desk.hub.stop()
    assert (await creating).session.status == "provisioning"
    assert lab.seconds < 1.5


@in_virtual_time
async def test_while_the_server_starts_nothing_is_created(lab: Lab) -> None:
    desk = await desk_of(lab)
    desk.vitals.swept = False
    with pytest.raises(Unavailable):
        await desk.create()
    assert desk.keys.made == 0


@in_virtual_time
async def test_a_budget_that_cannot_hold_it_is_not_the_offers_fault(lab: Lab) -> None:
    desk = await desk_of(lab)
    await lab.limit(1)
    lab.work()
    with pytest.raises(ResourceExhausted):
        await desk.create()
    assert desk.keys.away == 0
    assert await desk.list() == []


@in_virtual_time
async def test_one_active_session_of_a_consumer_on_an_offer(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    first = (await desk.create()).session
    with pytest.raises(AlreadyExists, match=f"app has session {first.id} \\(provisioning\\) on offer alpha-o1"):
        await desk.create()
    assert desk.keys.made == 1, "it is known before a key is made"
    await desk.create(consumer_id="another")
    await desk.create(offer_id="alpha-o2")
    await desk.destroy(first.id)
    await lab.settled(first.id)
    await desk.create()


@in_virtual_time
async def test_a_session_that_ends_is_in_nobodys_way(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    first = (await desk.create()).session
    await lab.until(first.id, State.RUNNING)
    await desk.done(first.id)
    await lab.until(first.id, State.STOPPING)
    await desk.create()


async def outcomes(creates: list[Any]) -> Counter[str]:
    found = await asyncio.gather(*creates, return_exceptions=True)
    return Counter(type(each).__name__ for each in found)


@in_virtual_time
async def test_ten_at_once_are_one_session_on_the_memory_store(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    assert await outcomes([desk.create() for _ in range(10)]) == {"CreatedSession": 1, "AlreadyExists": 9}
    assert desk.keys.made == 1
    assert len(lab.disk.table(Instance)) == 1


@in_virtual_time
async def test_ten_processes_at_once_are_one_session(lab: Lab) -> None:
    """Only the commit decides between processes."""
    desks = [await desk_of(lab) for _ in range(10)]
    lab.work()
    assert await outcomes([desk.create() for desk in desks]) == {"CreatedSession": 1, "AlreadyExists": 9}
    assert sum(desk.keys.away for desk in desks) == 1, "whoever came too late gave the key back"
    assert len(lab.disk.table(Instance)) == 1


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_ten_at_once_are_one_session_in_a_database(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "VERDICT_S", 0.05)  # nobody works on it here
    stores = await _stores(database, tmp_path)
    try:
        desks = [await _process(store, first=store is stores[0]) for store in stores for _ in range(10 // len(stores))]
        assert await outcomes([desk.create() for desk in desks]) == {"CreatedSession": 1, "AlreadyExists": 9}
        assert sum(desk.keys.away for desk in desks) == 1
    finally:
        for store in stores:
            await store.close()


async def _stores(database: str, tmp_path: Path) -> list[Any]:
    """One store of SQLite, which has one writer; five of PostgreSQL."""
    path = tmp_path / "plane.db"
    url = f"sqlite:///{path}" if database == "sqlite" else await new_database()
    await migrate(url, SystemIds(), lambda: "test")
    if database == "sqlite":
        return [SqliteStore(path, SystemClock(), SystemIds())]
    return [PostgresStore(url, SystemIds()) for _ in range(5)]


async def _process(store: Any, *, first: bool) -> Desk:
    """Sessions over that store and the lab's market, in real time."""
    core = await _core(store)
    account = Account("acct_a", "a", "USD", 100, START)
    if first:
        await store.run(UnitOfWork(ALL, [Get(Account, account.id)], lambda tx: tx.put(account)))
    hub = hub_over(core)
    await hub.start()
    return Desk(core, hub)


async def _core(store: Any) -> Core:
    """A core over that store with the lab's market, in real time."""
    lab: Any = None  # a plane in virtual time, borrowed for its market

    @in_virtual_time
    async def borrow(made: Lab) -> None:
        nonlocal lab
        lab = made

    await asyncio.to_thread(borrow)
    return replace(
        lab.core, store=store, clock=SystemClock(), bus=MemoryBus(), secrets=MasterKeySecrets(bytes(32)),
        ssh_keys=AnyKey(),
    )  # fmt: skip


@in_virtual_time
async def test_a_named_request_is_answered_again_with_its_key(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    first = await desk.create("name")
    assert await desk.create("name") == first
    assert "private1" not in repr(list(lab.disk.table(IdempotencyRecord).values()))
    with pytest.raises(Aborted):
        await desk.create("name", disk_gb=60)
    await asyncio.sleep(601)
    with pytest.raises(AlreadyExists):  # the name means another request now
        await desk.create("name")


@in_virtual_time
async def test_an_answer_that_a_crash_swallowed_is_made_again(lab: Lab) -> None:
    crashed, after = await desk_of(lab), await desk_of(lab)
    lab.work()
    creating = asyncio.create_task(crashed.create("name"))
    await asyncio.sleep(0.01)
    creating.cancel()
    await lab.until(only(lab).id, State.RUNNING)
    again = await after.create("name")
    assert again.ssh_private_key == "private1"
    assert (again.session.id, again.session.status) == (only(lab).id, "running")
    assert after.keys.made == 0


@in_virtual_time
async def test_a_key_is_not_shown_again_after_ten_minutes(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    creating = asyncio.create_task(desk.create("name"))
    await asyncio.sleep(0.01)
    creating.cancel()
    await asyncio.sleep(601)
    with pytest.raises(AlreadyExists):
        await desk.create("name")


@in_virtual_time
async def test_a_refused_request_stays_refused_under_its_name(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.provider.script.append(Stockout("none left"))
    lab.work()
    for _ in range(2):
        with pytest.raises(StaleInventory):
            await desk.create("name")
    assert len(lab.disk.table(Instance)) == 1


@in_virtual_time
async def test_whoever_hangs_up_finds_the_session_in_the_list(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    creating = asyncio.create_task(desk.create())
    await asyncio.sleep(0.01)
    creating.cancel()
    row = await lab.until(only(lab).id, State.RUNNING)
    assert await desk.list() == [row.id]
    assert desk.keys.away == 1, "its key may be on the machine: nobody else gets it"


@in_virtual_time
async def test_a_session_that_ends_before_its_machine_was_made_is_in_nobodys_way(lab: Lab) -> None:
    desk = await desk_of(lab)
    first = (await desk.create()).session  # nobody works on it
    await desk.destroy(first.id)
    assert (await desk.create()).session.id != first.id


@in_virtual_time
async def test_retries_take_another_offer_within_their_price(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.provider.script += [Stockout("none left"), Stockout("none left")]
    lab.work()
    made = await desk.create(offer_id="alpha-o2", auto_retry=True)
    asked = [spec.offer.id for spec in lab.provider.asked]
    assert asked[0] == "alpha-o2", "the offer that was named comes first, though others cost less"
    assert asked[1:] == ["alpha-o0", "alpha-o1"]
    assert made.retries_attempted == 2
    assert (made.session.offer_id, made.session.auto_retry) == ("alpha-o2", True)
    session = await desk.get(made.session.id)
    assert (session.retry_count, list(session.failed_offers)) == (2, ["alpha-o2", "alpha-o0"])
    wish = only(lab).wish
    assert wish.max_price_nano_per_hour == 420_000_000 * 120 // 100
    assert wish.max_retries == 3


@in_virtual_time
async def test_retries_that_find_nothing_are_stale_inventory(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.provider.script += [Stockout("none left")] * 4
    lab.work()
    with pytest.raises(StaleInventory):
        await desk.create(auto_retry=True)
    assert await desk.list() == []


@in_virtual_time
async def test_an_offer_that_failed_a_moment_ago_is_still_tried_when_named(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.provider.capabilities = replace(lab.provider.capabilities, rest_s=300.0)
    lab.provider.script.append(Stockout("none left"))
    lab.work()
    with pytest.raises(StaleInventory):
        await desk.create()
    await desk.create(auto_retry=True)
    assert [spec.offer.id for spec in lab.provider.asked] == ["alpha-o1", "alpha-o1"]


@in_virtual_time
async def test_the_price_of_a_larger_disk_is_no_reason_to_refuse_it(lab: Lab) -> None:
    offers = [replace(each, priced_disk_gb=50, disk_nano_per_gb_hour=1_000) for each in lab.provider.catalogue()]
    lab.core.offers.update("alpha", tuple(offers), lab.clock.now())
    desk = await desk_of(lab)
    lab.work()
    await desk.create(disk_gb=100)
    await desk.create(offer_id="alpha-o2", disk_gb=20)
    caps = [spec.max_price_nano_per_hour for spec in lab.provider.asked]
    assert caps == [410_000_000 + 50 * 1_000, 420_000_000]


@in_virtual_time
async def test_an_unknown_offer_is_not_found(lab: Lab) -> None:
    desk = await desk_of(lab)
    with pytest.raises(NotFound) as refused:
        await desk.create(offer_id="alpha-gone")
    assert render_error(refused.value, "rid").body["error"] == "offer not found: alpha-gone"
