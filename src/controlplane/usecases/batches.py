"""Several machines in one call. Each is accepted or refused by itself, as `instances.create` does it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from controlplane.domain.account import Account
from controlplane.domain.billing import first_hold
from controlplane.domain.budget import Budget
from controlplane.domain.errors import FailedPrecondition, PlaneError, ResourceExhausted
from controlplane.domain.operation import Operation
from controlplane.domain.principal import Principal
from controlplane.ports.store import CountLive, Get, Load, Transaction, UnitOfWork, Where
from controlplane.usecases import instances, market, validation
from controlplane.usecases.core import Core
from controlplane.usecases.idempotency import AIP_155, RequestKey
from controlplane.usecases.wishes import CreateInstance

MOST = 100
"""Machines in one call."""

_ITEM_RULE = replace(AIP_155, longest=AIP_155.longest + len(f"/{MOST}"))

Result = Operation | PlaneError
"""What became of one wish: accepted, or why not."""


async def create_each(
    core: Core, caller: Principal, wishes: Sequence[CreateInstance | PlaneError], request: RequestKey
) -> list[Result]:
    """Accept each wish that can be accepted; one that is an error already stays it. Results in the wishes' order.

    Each counts as a request of its own, named after its place, so that a repeat makes nothing twice and tries what was
    refused again. Raises Aborted when the id was used for another call.
    """
    validation.check_tenant(caller)
    request.check()
    keys = _keys(request, len(wishes))
    await _accepted_before(core, caller, keys)
    return await _create(core, caller, wishes, keys)


async def reserve(
    core: Core, caller: Principal, wish: CreateInstance, count: int, least: int, request: RequestKey
) -> list[Result]:
    """Accept the same wish `count` times, unless market, quota and budgets show that fewer than `least` can be had.

    A moment later others may have used them up: past the check each is on its own. When all were refused, the first
    refusal is raised.
    """
    validation.check_tenant(caller)
    request.check()
    keys = _keys(request, count)
    needed = least - await _accepted_before(core, caller, keys)
    if needed > 0:
        await _check_room(core, caller, wish, needed)
    results = await _create(core, caller, [wish] * count, keys)
    if isinstance(results[0], PlaneError) and not any(isinstance(each, Operation) for each in results):
        raise results[0]
    return results


def _keys(request: RequestKey, count: int) -> list[RequestKey]:
    """The names of the items; none where the call has none."""
    if not request.id:
        return [request] * count
    return [replace(request, id=f"{request.id}/{index}", rule=_ITEM_RULE) for index in range(count)]


async def _accepted_before(core: Core, caller: Principal, keys: Sequence[RequestKey]) -> int:
    """How many of the items an earlier call of that name accepted. Raises Aborted when it was another call."""

    def decide(tx: Transaction) -> int:
        return sum(1 for key in keys if key.replay(tx, caller.account_id))

    loads = [load for key in keys for load in key.loads(caller.account_id)]
    return await core.store.run(UnitOfWork(caller.scope, loads, decide)) if loads else 0


async def _create(
    core: Core, caller: Principal, wishes: Sequence[CreateInstance | PlaneError], keys: Sequence[RequestKey]
) -> list[Result]:
    async def one(wish: CreateInstance | PlaneError, key: RequestKey) -> Result:
        if isinstance(wish, PlaneError):
            return wish
        try:
            return await instances.create(core, caller, wish, key)
        except PlaneError as error:
            return error

    # Together, so that they share commits.
    return await asyncio.gather(*(one(wish, key) for wish, key in zip(wishes, keys, strict=True)))


async def _check_room(core: Core, caller: Principal, wish: CreateInstance, needed: int) -> None:
    """Raise what speaks against that many more machines."""
    account_id = caller.account_id

    def decide(tx: Transaction) -> None:
        account = validation.check_open(tx.get(Account, account_id))
        offers = market.offers_for(core, wish, account)
        units = sum(offer.available for offer in offers)
        if units < needed:
            raise FailedPrecondition(
                f"the market has {units} machines for this wish, and at least {needed} are wanted",
                reason="NO_MATCHING_OFFER", requirements=str(wish.requirements or wish.offer_id),
            )  # fmt: skip
        if tx.count_live(account_id) + needed > account.max_instances:
            raise ResourceExhausted(
                f"{needed} more would go past {account.max_instances} active instances, the account's limit",
                reason="QUOTA_EXCEEDED", resource="instances", limit=account.max_instances,
            )  # fmt: skip
        hold = needed * first_hold(wish.billing, offers[0].price_nano_per_hour, core.policy.hold_window_s)
        for budget in tx.where(Budget, "account_id", account_id):
            current = budget.rolled(tx.now)
            if not current.fits(hold):
                raise current.refuse(hold)

    loads: list[Load] = [Get(Account, account_id), CountLive(account_id), Where(Budget, "account_id", account_id)]
    await core.store.run(UnitOfWork(caller.scope, loads, decide))
