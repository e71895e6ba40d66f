"""Budgets of an account."""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain import ids as id_forms
from controlplane.domain.account import Account
from controlplane.domain.budget import Budget, Period, period_start
from controlplane.domain.errors import AlreadyExists, ResourceExhausted, invalid, not_found
from controlplane.domain.principal import Principal
from controlplane.domain.work import WorkItem
from controlplane.ports.bus import Topic
from controlplane.ports.store import Get, LiveInstances, Transaction, UnitOfWork, Where
from controlplane.usecases import validation
from controlplane.usecases.core import Core
from controlplane.usecases.idempotency import RequestKey


async def create(
    core: Core, caller: Principal, name: str, limit_nano: int, period: Period, request: RequestKey
) -> Budget:
    """Add a budget. What runs already is held in it from now on."""
    validation.check_tenant(caller)
    validation.check_name(name, required=True)
    _check_limit(limit_nano)
    request.check()
    account_id = caller.account_id

    def decide(tx: Transaction) -> Budget | str:
        if first := request.replay(tx, account_id):
            return first
        account = validation.check_open(tx.get(Account, account_id))
        have = tx.where(Budget, "account_id", account_id)
        if len(have) >= core.policy.max_budgets:
            raise ResourceExhausted(
                f"the account has {len(have)} budgets, which is its limit",
                reason="QUOTA_EXCEEDED", resource="budgets", limit=core.policy.max_budgets,
            )  # fmt: skip
        _check_free(have, name)
        budget = Budget(
            id_forms.encode(id_forms.BUDGET, tx.ids.uuid7()), account_id, name, limit_nano, account.currency, period,
            period_start(period, tx.now), tx.now,
            held_nano=sum(i.hold_nano for i in tx.live_instances(account_id)),
        )  # fmt: skip
        tx.put(budget)
        request.record(tx, account_id, budget.id)
        return budget

    loads = [
        Get(Account, account_id), Where(Budget, "account_id", account_id), LiveInstances(account_id),
        *request.loads(account_id),
    ]  # fmt: skip
    made = await core.store.run(UnitOfWork(caller.scope, loads, decide))
    if isinstance(made, str):
        return await budget_of(core, caller, made)
    await _poke_running(core, caller, account_id)
    return made


def _check_free(budgets: list[Budget], name: str, but: str = "") -> None:
    if any(b.name == name and b.id != but for b in budgets):
        raise AlreadyExists(f"a budget named {name!r} exists", resource="budget", field="name", value=name)


def _check_limit(limit_nano: int) -> None:
    if limit_nano <= 0:
        raise invalid("limit", "must be more than zero", limit_nano)


async def budget_of(core: Core, caller: Principal, id: str) -> Budget:
    """One budget as of now, or NotFound."""
    found = await core.store.get(caller.scope, Budget, id)
    if found is None:
        raise not_found("budget", id)
    return found.rolled(core.clock.now())


async def list_all(core: Core, caller: Principal) -> list[Budget]:
    """All budgets of the account as of now; they are few."""
    rows = await core.store.select(caller.scope, Budget, {"account_id": caller.account_id}, "", core.policy.max_budgets)
    return [row.rolled(core.clock.now()) for row in rows]


async def update(
    core: Core, caller: Principal, id: str, name: str | None, limit_nano: int | None, request: RequestKey
) -> Budget:
    """Change name or limit; running machines are measured against the new limit at once."""
    request.check()
    if name is not None:
        validation.check_name(name, required=True)
    if limit_nano is not None:
        _check_limit(limit_nano)

    def decide(tx: Transaction) -> Budget:
        row = tx.get(Budget, id)
        if row is None:
            raise not_found("budget", id)
        row = row.rolled(tx.now)
        if request.replay(tx, caller.account_id):
            return row
        if name is not None:
            _check_free(tx.where(Budget, "account_id", row.account_id), name, id)
        request.record(tx, caller.account_id, id)
        changed = replace(row, name=row.name if name is None else name, limit_nano=limit_nano or row.limit_nano)
        tx.put(changed)
        return changed

    owner = (await budget_of(core, caller, id)).account_id
    loads = [Get(Budget, id), Where(Budget, "account_id", owner), *request.loads(caller.account_id)]
    changed = await core.store.run(UnitOfWork(caller.scope, loads, decide))
    await _poke_running(core, caller, changed.account_id)
    return changed


async def _poke_running(core: Core, caller: Principal, account_id: str) -> None:
    """Make the account's machines due, so that the new limit meets them now and not at the next metering."""
    ids: list[str] = await core.store.run(
        UnitOfWork(
            caller.scope,
            [LiveInstances(account_id)],
            lambda tx: [i.id for i in tx.live_instances(account_id)],
        )
    )

    def decide(tx: Transaction) -> None:
        for id in ids:
            item = tx.get(WorkItem, id)
            if item is not None:
                tx.put(item.poked(tx.now))

    await core.store.run(UnitOfWork(caller.scope, [Get(WorkItem, id) for id in ids], decide))
    core.bus.notify(Topic.WORK)


async def delete(core: Core, caller: Principal, id: str, request: RequestKey) -> None:
    """Remove a budget."""
    request.check()

    def decide(tx: Transaction) -> None:
        if request.replay(tx, caller.account_id):
            return
        if tx.get(Budget, id) is None:
            raise not_found("budget", id)
        tx.delete(Budget, id)
        request.record(tx, caller.account_id, id)

    await core.store.run(UnitOfWork(caller.scope, [Get(Budget, id), *request.loads(caller.account_id)], decide))
