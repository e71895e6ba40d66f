"""Creates whose answer waits for the marketplace: they tell what came of the purchase, not only that it was accepted.

An instance is given to its caller by `announce`, in a commit of its own. One that ends as unobtainable before that was
refused: its caller was told so, and a dialect of such answers shows it to nobody.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from controlplane.domain.errors import not_found
from controlplane.domain.instance import BUDGET_EXHAUSTED, Instance
from controlplane.domain.operation import Operation, Outcome
from controlplane.domain.principal import Principal
from controlplane.domain.records import replace
from controlplane.domain.state import TERMINAL
from controlplane.ports.store import Get, Transaction, UnitOfWork
from controlplane.usecases.core import Core
from controlplane.usecases.hub import EventHub
from controlplane.usecases.idempotency import RequestKey
from controlplane.usecases.instances import operation_of

UNOBTAINABLE = frozenset({"NO_CAPACITY", "PROVIDER_REFUSED", BUDGET_EXHAUSTED})
"""Reasons for which an instance ends although nothing went wrong with a machine."""


@dataclass(frozen=True, slots=True)
class Given:
    """The instance that a create came to: the caller's from now on, or None if it could not be had."""

    operation: Operation
    instance: Instance | None


async def given(core: Core, hub: EventHub, caller: Principal, operation_id: str, mark: str, timeout_s: float) -> Given:
    """Wait for the verdict on a create, then announce its instance. Undecided counts as obtained."""
    operation = await verdict(core, hub, caller, operation_id, timeout_s)
    instance = await announce(core, caller, operation.instance_id, mark)
    if instance is None and not operation.done:  # it ended after we stopped waiting
        operation = await operation_of(core, caller, operation_id)
    return Given(operation, instance)


async def verdict(core: Core, hub: EventHub, caller: Principal, operation_id: str, timeout_s: float) -> Operation:
    """A create's operation as soon as a marketplace has made a machine or nothing more is tried; as it is when time has
    run out or the server stops."""
    after = await hub.resume_point(caller.account_id, "")
    waiting = replace(caller, key_id="")  # a call that was let in is answered, whatever becomes of its key
    subscription = await hub.subscribe(waiting, operation_id, after)
    try:
        operation = await operation_of(core, caller, operation_id)
        async with asyncio.timeout(timeout_s):
            while not _decided(operation) and subscription.ended is None:
                if await subscription.next(timeout_s) is not None:
                    operation = await operation_of(core, caller, operation_id)
    except TimeoutError:
        pass
    finally:
        hub.unsubscribe(subscription)
    return operation


def _decided(operation: Operation) -> bool:
    return operation.done or any(attempt.outcome is Outcome.CREATED for attempt in operation.attempts)


async def announce(core: Core, caller: Principal, instance_id: str, mark: str) -> Instance | None:
    """Give an instance to its caller, by a label of that name; None if it could not be had."""

    def decide(tx: Transaction) -> Instance | None:
        row = tx.get(Instance, instance_id)
        if row is None:
            raise not_found("instance", instance_id)
        if mark in row.labels:
            return row
        if row.state in TERMINAL and row.run_at is None and row.state_reason in UNOBTAINABLE:
            return None
        announced = replace(row, labels={**row.labels, mark: "true"}, updated_at=tx.now)
        tx.put(announced)
        return announced

    return await core.store.run(UnitOfWork(caller.scope, [Get(Instance, instance_id)], decide))


async def sealed_secret(core: Core, caller: Principal, request: RequestKey) -> str:
    """What was sealed with a named request. Raises Aborted once it may no longer be shown."""

    def decide(tx: Transaction) -> str:
        return request.sealed(tx, caller.account_id)

    return await core.store.run(UnitOfWork(caller.scope, request.loads(caller.account_id), decide))
