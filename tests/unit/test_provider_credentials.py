"""Credentials that accounts bring along: kept secret, and used for their own account's machines alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from controlplane.adapters.secrets import MasterKeySecrets
from controlplane.domain.account import Account
from controlplane.domain.credential import ProviderCredential
from controlplane.domain.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PlaneError,
    ResourceExhausted,
)
from controlplane.domain.instance import Instance
from controlplane.domain.offer import Offer
from controlplane.domain.operation import OperationState
from controlplane.domain.principal import ALL, SCOPES, Principal
from controlplane.domain.state import State
from controlplane.domain.stray import StrayKind, StrayMachine
from controlplane.ports.provider import Provider, ProviderError
from controlplane.ports.store import Get, UnitOfWork
from controlplane.reconcile.credentials import CHECK_S, FORGET_S, INTERVAL_S, TURN_S, UNNEEDED_S, CredentialKeeper
from controlplane.usecases import account_credentials, instances
from controlplane.usecases.account_credentials import MAX_HELD, NewCredential
from controlplane.usecases.idempotency import RequestKey
from controlplane.usecases.wishes import CreateInstance
from tests.simulation.world import Faults, Market, SimProvider
from tests.support.fakes import START
from tests.support.lab import CALLER, ONCE, Lab, in_virtual_time

BOB = Principal("acct_b", "key_b", frozenset(SCOPES))
KEY = "vk-0123456789abcdef-first"
END = RequestKey("terminate")


async def _open() -> None:
    """A gate that is always open."""


class OwnProvider(SimProvider):
    """What acts under an account's credential: the same marketplace, another customer of it."""

    def __init__(self, market: Market) -> None:
        super().__init__(market, _open)
        self.market = market
        self.refused = False
        self.closed = False

    async def offers(self) -> tuple[Offer, ...]:
        if self.refused:
            raise ProviderError("401")
        return await super().offers()

    async def close(self) -> None:
        self.closed = True


class Keys:
    """A keeper, the providers that it made by their secret, and what it told of them."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.made: dict[str, OwnProvider] = {}
        self.told: list[tuple[str, str]] = []
        self.keeper = self.another()

    def another(self, **changes: Any) -> CredentialKeeper:
        """A keeper of another life of the process."""
        factories: Mapping[str, Any] = {name: self._factory(name) for name in ("alpha", "beta")}
        core = replace(self.lab.core, **changes)
        return CredentialKeeper(core, factories, self._started, self._ended, offers_interval_s=10.0)

    def _factory(self, name: str) -> Any:
        def make(secret: str) -> Provider:
            market = Market(name, self.lab.loop, random.Random(secret), Faults(), calm=True)
            self.made[secret] = OwnProvider(market)
            return self.made[secret]

        return make

    def _started(self, id: str, provider: Provider) -> None:
        self.told.append(("started", id))

    async def _ended(self, id: str) -> None:
        self.told.append(("ended", id))

    def work(self) -> None:
        """Keep up with the store, as a server does."""
        self.lab.tasks += [asyncio.create_task(loop()) for loop in self.keeper.loops.values()]

    async def add(self, secret: str = KEY, provider: str = "alpha", caller: Principal = CALLER) -> ProviderCredential:
        """A credential that this process knows of."""
        wish = NewCredential(provider, "mine", secret)
        row = await account_credentials.create(self.lab.core, caller, wish, RequestKey("add"))
        await self.keeper.refresh()
        return row

    async def revoke(self, id: str) -> None:
        """End a credential; this process knows of it."""
        await account_credentials.revoke(self.lab.core, CALLER, id)
        await self.keeper.refresh()

    def row(self, id: str) -> ProviderCredential:
        """The row as it is."""
        found: ProviderCredential = self.lab.disk.table(ProviderCredential)[id]
        return found


async def end(lab: Lab, id: str) -> Instance:
    """Return a machine; the settled instance."""
    await instances.terminate(lab.core, CALLER, id, force=False, request=END)
    return await lab.settled(id)


def _removing(row: StrayMachine) -> UnitOfWork[None]:
    return UnitOfWork(ALL, [Get(StrayMachine, row.id)], lambda tx: tx.delete(StrayMachine, row.id))


async def create(lab: Lab, secret: str, request: RequestKey, name: str = "mine") -> ProviderCredential:
    """What a caller asks for, under a request id."""
    return await account_credentials.create(lab.core, CALLER, NewCredential("alpha", name, secret), request)


@in_virtual_time
async def test_a_repeat_returns_the_first_and_another_body_is_refused(lab: Lab) -> None:
    made = await create(lab, KEY, RequestKey("add", "r1", "print"))
    assert (made.provider, made.name, made.revoked_at) == ("alpha", "mine", None)
    assert made.id.startswith("cred_")
    assert lab.core.secrets.open(account_credentials.SEALED, made.id, made.sealed) == KEY.encode()
    assert await create(lab, KEY, RequestKey("add", "r1", "print")) == made
    with pytest.raises(Aborted):
        await create(lab, "another", RequestKey("add", "r1", "other"))
    with pytest.raises(AlreadyExists, match=made.id):
        await create(lab, KEY, RequestKey("add"))


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        (NewCredential("gamma", "n", KEY), "provider"),
        (NewCredential("alpha", "", KEY), "name"),
        (NewCredential("alpha", "n" * 64, KEY), "name"),
        (NewCredential("alpha", "n", ""), "secret"),
        (NewCredential("alpha", "n", "k" * 4097), "secret"),
        (NewCredential("alpha", "n", f"{KEY}\n"), "secret"),
        (NewCredential("alpha", "n", f"{KEY}é"), "secret"),
    ],
)
def test_what_cannot_be_a_credential_is_refused_by_field_and_never_repeated(wish: NewCredential, field: str) -> None:
    @in_virtual_time
    async def play(lab: Lab) -> None:
        with pytest.raises(InvalidArgument) as refusal:
            await account_credentials.create(lab.core, CALLER, wish, RequestKey("add"))
        assert refusal.value.metadata["field"] == field
        assert KEY not in f"{refusal.value} {refusal.value.metadata} {wish}"
        if field == "provider":
            assert refusal.value.metadata["rule"] == "must be among alpha, beta"
        assert not lab.disk.table(ProviderCredential)

    play()


@in_virtual_time
async def test_there_is_room_for_sixteen_whose_key_is_held(lab: Lab) -> None:
    for number in range(MAX_HELD):
        last = await create(lab, f"key-{number}", RequestKey("add"))
    with pytest.raises(ResourceExhausted) as refusal:
        await create(lab, "one-too-many", RequestKey("add"))
    assert refusal.value.reason == "QUOTA_EXCEEDED"
    await lab.put(replace(last, revoked_at=START, sealed=""))
    await create(lab, "one-too-many", RequestKey("add"))


@in_virtual_time
async def test_nobody_else_sees_or_ends_it(lab: Lab) -> None:
    made = await create(lab, KEY, RequestKey("add"))
    for act in (account_credentials.credential_of, account_credentials.revoke):
        with pytest.raises(NotFound):
            await act(lab.core, BOB, made.id)
    assert await account_credentials.credentials(lab.core, BOB, "", 10) == []
    assert await account_credentials.credentials(lab.core, CALLER, "", 10) == [(made.id, made)]
    operator = Principal("operator", "operator", frozenset(SCOPES), operator=True)
    with pytest.raises(PermissionDenied):
        await account_credentials.create(lab.core, operator, NewCredential("alpha", "n", KEY), RequestKey("add"))


@in_virtual_time
async def test_a_revocation_is_for_good(lab: Lab) -> None:
    made = await create(lab, KEY, RequestKey("add"))
    await asyncio.sleep(5)
    first = await account_credentials.revoke(lab.core, CALLER, made.id)
    await asyncio.sleep(5)
    assert await account_credentials.revoke(lab.core, CALLER, made.id) == first
    assert first.revoked_at == START + 5_000_000
    assert (await create(lab, KEY, RequestKey("add"))).id != made.id  # the key may come back as a new one


@in_virtual_time
async def test_the_secret_is_in_no_row_log_event_or_refusal(lab: Lab) -> None:
    def leaking(secret: str) -> Provider:
        raise ValueError(f"cannot use {secret}")

    keys = Keys(lab)
    lab.work()
    said: list[str] = []
    with capture_logs() as logs:
        await keys.add()
        await lab.running()
        broken = CredentialKeeper(
            replace(lab.core, credentials=type(lab.core.credentials)(("alpha",))), {"alpha": leaking}, keys._started,
            keys._ended, offers_interval_s=10.0,
        )  # fmt: skip
        await broken.refresh()
        for name in ("mine", ""):
            with pytest.raises(PlaneError) as refusal:
                await create(lab, KEY, RequestKey("add"), name)
            said.append(f"{refusal.value} {refusal.value.metadata}")
    assert [line["event"] for line in logs if line.get("id")] == ["credentials.unusable"]
    shown = f"{logs} {said} {lab.disk.__dict__} {NewCredential('alpha', 'n', KEY)!r}"
    assert "ProviderCredential(" in shown
    assert KEY not in shown
    assert all(KEY.encode() not in event.body for event in lab.disk.events)


@in_virtual_time
async def test_a_machine_is_bought_and_returned_under_its_own_credential(lab: Lab) -> None:
    keys = Keys(lab)
    lab.work()
    first = await keys.add()
    row = await lab.running()
    assert row.credential_id == first.id
    assert not lab.market.machines, "the deployment's own customer account bought nothing"
    second = await keys.add("vk-second")
    later = await lab.running()
    assert later.credential_id == second.id
    await keys.revoke(first.id)
    ended = await end(lab, row.id)
    assert ended.state is State.TERMINATED
    assert [m.gone_at is not None for m in keys.made[KEY].market.machines.values()] == [True]
    assert [m.gone_at for m in keys.made["vk-second"].market.machines.values()] == [None]


@in_virtual_time
async def test_another_account_buys_as_ever(lab: Lab) -> None:
    keys = Keys(lab)
    lab.work()
    await keys.add()
    await lab.put(Account("acct_b", "b", "USD", 100, START))
    made = await instances.create(lab.core, BOB, CreateInstance(offer_id="alpha-o1"), ONCE)
    row = await lab.until(made.instance_id, State.RUNNING)
    assert row.credential_id == ""
    assert [m.label for m in lab.market.machines.values()] == [row.label]
    assert not keys.made[KEY].market.machines


@in_virtual_time
async def test_revoked_the_account_buys_under_the_next_or_the_deployments(lab: Lab) -> None:
    keys = Keys(lab)
    first, second = await keys.add(), await keys.add("vk-second")
    book = lab.core.credentials
    assert book.of("acct_a", "alpha") == second.id
    await keys.revoke(second.id)
    assert book.of("acct_a", "alpha") == first.id
    assert book.provider(second.id) is keys.made["vk-second"], "what was bought under it is still looked after"
    await keys.revoke(first.id)
    assert book.of("acct_a", "alpha") == ""


@in_virtual_time
async def test_a_secret_of_another_master_key_stops_its_account_alone(lab: Lab) -> None:
    lab.work()
    keys = Keys(lab)
    wrong = keys.another(secrets=MasterKeySecrets(bytes(31) + b"\1"))
    made = await create(lab, KEY, RequestKey("add"))
    with capture_logs() as logs:
        await wrong.refresh()
        await wrong.refresh()
    assert [line["event"] for line in logs] == ["credentials.unreadable"], "said once"
    refused = await lab.create()
    await lab.put(Account("acct_b", "b", "USD", 100, START))
    other = await instances.create(lab.core, BOB, CreateInstance(offer_id="alpha-o1"), ONCE)
    await lab.until(other.instance_id, State.RUNNING)
    assert (await lab.settled(refused.id)).state is State.FAILED
    operation = lab.operation(refused.create_operation_id)
    assert operation.state is OperationState.FAILED
    assert operation.attempts == (), "bought neither under it nor on the deployment's bill"
    assert keys.row(made.id).sealed == made.sealed
    assert keys.told == []


@in_virtual_time
async def test_a_machine_waits_while_its_credential_cannot_be_used(lab: Lab) -> None:
    keys = Keys(lab)
    lab.work()
    made = await keys.add()
    row = await lab.running()
    acting = lab.core.credentials.remove(made.id)  # as in a process that starts under a wrong master key
    assert acting is keys.made[KEY]
    await instances.terminate(lab.core, CALLER, row.id, force=False, request=END)
    await asyncio.sleep(300)
    waiting = lab.instance(row.id)
    assert (waiting.state, waiting.settled) == (State.STOPPING, False)
    lab.core.credentials.install(made, acting)
    assert (await lab.settled(row.id)).state is State.TERMINATED


@in_virtual_time
async def test_a_revoked_secret_is_erased_once_no_machine_needs_it(lab: Lab) -> None:
    keys = Keys(lab)
    lab.work()
    keys.work()
    made = await keys.add()
    row = await lab.running()
    await keys.revoke(made.id)
    await asyncio.sleep(UNNEEDED_S + 2 * CHECK_S)
    assert keys.row(made.id).sealed, "its machine runs"
    await end(lab, row.id)
    stray = StrayMachine(
        "stray_1", "alpha", made.id, "m9", "gp-lab-x-1", StrayKind.ORPHAN, "running", 1, START, START
    )  # fmt: skip
    await lab.put(stray)
    await asyncio.sleep(UNNEEDED_S + 2 * CHECK_S)
    assert keys.row(made.id).sealed, "a machine that nobody claims is left"
    await lab.core.store.run(_removing(stray))
    await asyncio.sleep(UNNEEDED_S - CHECK_S)
    assert keys.row(made.id).sealed, "a lost create may still show"
    assert not keys.made[KEY].closed
    await asyncio.sleep(3 * CHECK_S)
    assert keys.row(made.id).sealed == ""
    assert keys.made[KEY].closed
    assert keys.told == [("started", made.id), ("ended", made.id)]
    assert lab.core.credentials.ids == frozenset()


@in_virtual_time
async def test_only_one_kind_of_process_erases_and_rows_end_after_a_month(lab: Lab) -> None:
    row = ProviderCredential("cred_1", "acct_a", "alpha", "old", "", "f" * 12, START, START)
    await lab.put(row)
    keys = Keys(lab)
    idle = CredentialKeeper(lab.core, {}, keys._started, keys._ended, offers_interval_s=10.0, erases=False)
    await asyncio.sleep(FORGET_S - 1)
    await keys.keeper.refresh()
    assert keys.row(row.id) == row
    await asyncio.sleep(CHECK_S)
    await idle.refresh()
    assert keys.row(row.id) == row
    await keys.keeper.refresh()
    assert not lab.disk.table(ProviderCredential)


@in_virtual_time
async def test_a_market_of_accounts_alone_is_seen_through_their_credentials(lab: Lab) -> None:
    keys = Keys(lab)
    lab.work()
    keys.work()
    first, second = await keys.add(provider="beta"), await keys.add("vk-second", "beta")
    keys.made[KEY].refused = True
    await asyncio.sleep(2 * TURN_S)
    assert lab.core.offers.get("beta-o1") is not None, "the one that is refused costs a turn"
    row = await lab.running(offer_id="beta-o1")
    assert row.credential_id == second.id
    await lab.put(Account("acct_b", "b", "USD", 100, START))
    refused = await instances.create(lab.core, BOB, CreateInstance(offer_id="beta-o2"), ONCE)
    assert (await lab.settled(refused.instance_id)).state is State.FAILED, "it has no credential there"
    for made in (first, second):
        await keys.revoke(made.id)
    await asyncio.sleep(3 * TURN_S)
    assert lab.core.offers.get("beta-o1") is None
    with pytest.raises((NotFound, FailedPrecondition)):
        await lab.create(offer_id="beta-o1")


@in_virtual_time
async def test_a_process_that_starts_knows_them_before_it_buys_and_lets_go_at_its_end(lab: Lab) -> None:
    keys = Keys(lab)
    made = await create(lab, KEY, RequestKey("add"))
    keys.work()
    await asyncio.sleep(INTERVAL_S / 2)
    assert lab.core.credentials.of("acct_a", "alpha") == made.id
    await keys.keeper.close()
    assert keys.made[KEY].closed
    assert lab.core.credentials.ids == frozenset()
