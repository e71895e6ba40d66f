"""What operators decide about machines that no row claims. The sweeps carry it out."""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain.account import Account
from controlplane.domain.errors import FailedPrecondition, not_found
from controlplane.domain.principal import ALL
from controlplane.domain.stray import CURRENCY, StrayKind, StrayMachine, StrayWish
from controlplane.ports.store import Get, Transaction, UnitOfWork
from controlplane.usecases import validation
from controlplane.usecases.core import Core


async def stray_of(core: Core, id: str) -> StrayMachine:
    """One stray, or NotFound."""
    found = await core.store.get(ALL, StrayMachine, id)
    if found is None:
        raise not_found("stray", id, "here")
    return found


async def adopt(core: Core, id: str, account_id: str) -> StrayMachine:
    """Have the next sweep make the machine an instance of the account."""

    def decide(tx: Transaction) -> StrayMachine:
        row = _known(tx, id)
        _check_adoptable(row)
        account = tx.get(Account, account_id)
        if account is None:
            raise not_found("account", account_id, "here")
        held = core.credentials.get(row.credential_id)
        if held is not None and held.account_id != account_id:
            raise FailedPrecondition(
                f"stray {id} runs under a credential of account {held.account_id}, which pays for it",
                resource="stray", id=id, state=row.kind.value,
            )  # fmt: skip
        validation.check_open(account)
        if account.currency != CURRENCY:
            raise FailedPrecondition(
                f"account {account_id} is billed in {account.currency}, and marketplaces bill machines in {CURRENCY}",
                resource="account", id=account_id, state=account.currency,
            )  # fmt: skip
        return _decided(tx, row, StrayWish.ADOPT, account_id)

    return await core.store.run(UnitOfWork(ALL, [Get(StrayMachine, id), Get(Account, account_id)], decide))


async def destroy(core: Core, id: str) -> StrayMachine:
    """Have the next sweeps destroy the machine, until the provider confirms that it is gone."""

    def decide(tx: Transaction) -> StrayMachine:
        return _decided(tx, _known(tx, id), StrayWish.DESTROY, "")

    return await core.store.run(UnitOfWork(ALL, [Get(StrayMachine, id)], decide))


def _known(tx: Transaction, id: str) -> StrayMachine:
    row = tx.get(StrayMachine, id)
    if row is None:
        raise not_found("stray", id, "here")
    return row


def _check_adoptable(row: StrayMachine) -> None:
    if row.kind is StrayKind.ORPHAN:
        raise FailedPrecondition(
            f"stray {row.id} is an orphan: its instance {row.instance_id} has ended or has another machine, and it is "
            "being destroyed",
            resource="stray", id=row.id, state=row.kind.value,
        )  # fmt: skip
    if row.wish is StrayWish.DESTROY:
        raise FailedPrecondition(
            f"stray {row.id} is being destroyed, as was asked before", resource="stray", id=row.id, state=row.wish.value
        )


def _decided(tx: Transaction, row: StrayMachine, wish: StrayWish, account_id: str) -> StrayMachine:
    """The row with the wish; unchanged if that was wished already."""
    if (row.wish, row.account_id) == (wish, account_id):
        return row
    decided = replace(row, wish=wish, account_id=account_id, error="")
    tx.put(decided)
    return decided
