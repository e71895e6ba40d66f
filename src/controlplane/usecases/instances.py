"""What callers can do with instances. Each function is one intent: it checks, commits once, and wakes the loops."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.domain import ids as id_forms
from controlplane.domain.account import Account, SshKey
from controlplane.domain.billing import SECOND, first_hold
from controlplane.domain.budget import Budget
from controlplane.domain.errors import (
    FailedPrecondition,
    OutOfRange,
    ResourceExhausted,
    invalid,
    not_found,
)
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation, OperationKind, OperationState
from controlplane.domain.principal import Principal
from controlplane.domain.records import replace
from controlplane.domain.state import TERMINAL, State
from controlplane.domain.work import WorkItem
from controlplane.ports.bus import Topic
from controlplane.ports.store import CountLive, Get, LiveInstances, Load, Transaction, UnitOfWork, Where
from controlplane.usecases import market, validation
from controlplane.usecases.core import Core
from controlplane.usecases.idempotency import RequestKey
from controlplane.usecases.wishes import CreateInstance


async def create(
    core: Core, caller: Principal, wish: CreateInstance, request: RequestKey, sealed: str = ""
) -> Operation:
    """Accept the wish. Durable when it returns; no provider has been asked yet. `sealed` is kept with the request's
    name, for a repeat whose first answer was lost."""
    validation.check_tenant(caller)
    wish.check(core.policy.max_duration_s)
    request.check()
    if wish.requirements is not None:
        wish = replace(wish, requirements=wish.requirements.to_rent())
    account_id = caller.account_id
    keys = [await _parse_key(core, line, index) for index, line in enumerate(wish.ssh_public_keys)]
    loads: list[Load] = [
        Get(Account, account_id),
        CountLive(account_id),
        Where(Budget, "account_id", account_id),
        *(Get(SshKey, id) for id in wish.ssh_key_ids),
        *([LiveInstances(account_id)] if wish.sole_labels else []),
        *request.loads(account_id),
    ]

    def decide(tx: Transaction) -> Operation | str:
        if replayed := request.replay(tx, account_id):
            return replayed
        account = validation.check_open(tx.get(Account, account_id))
        if wish.sole_labels:
            validation.check_sole(wish.labels, wish.sole_labels, tx.live_instances(account_id))
        if tx.count_live(account_id) >= account.max_instances:
            raise ResourceExhausted(
                f"the account has {account.max_instances} active instances, which is its limit",
                reason="QUOTA_EXCEEDED", resource="instances", limit=account.max_instances,
            )  # fmt: skip
        cap, disk_gb, first = market.terms(core, wish, account)
        stored = tuple(_stored_key(tx, id) for id in wish.ssh_key_ids)
        hold = _hold(tx, account_id, min(cap, first.price_nano_per_hour), wish, core)
        operation = Operation(
            id=str(tx.ids.uuid7()), account_id=account_id,
            instance_id=id_forms.encode(id_forms.INSTANCE, tx.ids.uuid7()), kind=OperationKind.CREATE_INSTANCE,
            state=OperationState.PENDING, created_at=tx.now, updated_at=tx.now, request_id=request.id,
        )  # fmt: skip
        instance = _accepted(core, tx, wish, account, operation, (*stored, *keys), cap, disk_gb)
        tx.put(replace(instance.expecting(first), hold_nano=hold))
        tx.put(operation)
        tx.put(WorkItem(instance.id, due_at=tx.now, provider=first.provider))
        request.record(tx, account_id, operation.id, sealed)
        return operation

    made = await core.store.run(UnitOfWork(caller.scope, loads, decide))
    core.bus.notify(Topic.WORK)
    return await operation_of(core, caller, made) if isinstance(made, str) else made


async def operation_of(core: Core, caller: Principal, id: str) -> Operation:
    """One operation, or NotFound."""
    found = await core.store.get(caller.scope, Operation, id)
    if found is None:
        raise not_found("operation", id)
    return found


async def instance_of(core: Core, caller: Principal, id: str) -> Instance:
    """One instance, or NotFound."""
    found = await core.store.get(caller.scope, Instance, id)
    if found is None:
        raise not_found("instance", id)
    return found


async def _parse_key(core: Core, line: str, index: int) -> str:
    parsed = await core.ssh_keys.parse(line)
    if parsed is None:
        raise invalid(f"ssh_public_keys[{index}]", "must be one OpenSSH public key without options", line)
    return parsed.line


def _stored_key(tx: Transaction, id: str) -> str:
    key = tx.get(SshKey, id)
    if key is None:
        raise not_found("SSH key", id)
    return key.public_key


def _hold(tx: Transaction, account_id: str, price: int, wish: CreateInstance, core: Core) -> int:
    """Hold the first window of cost in every budget, or refuse."""
    wanted = first_hold(wish.billing, price, core.policy.hold_window_s)
    for budget in tx.where(Budget, "account_id", account_id):
        current = budget.rolled(tx.now)
        if not current.fits(wanted):
            raise current.refuse(wanted)
        tx.put(current.held(wanted))
    return wanted


def _accepted(
    core: Core, tx: Transaction, wish: CreateInstance, account: Account, operation: Operation,
    public_keys: tuple[str, ...], cap: int, disk_gb: int,
) -> Instance:  # fmt: skip
    hard_s = wish.max_duration_s or core.policy.max_duration_s
    return Instance(
        id=operation.instance_id,
        account_id=account.id,
        create_operation_id=operation.id,
        wish=wish.recorded(cap, disk_gb, public_keys),
        billing=wish.billing,
        currency=account.currency,
        created_at=tx.now,
        updated_at=tx.now,
        name=wish.name,
        labels=dict(wish.labels),
        ssh_key_ids=wish.ssh_key_ids,
        disk_gb=disk_gb,
        expire_at=tx.now + wish.reservation_s * SECOND if wish.reservation_s is not None else None,
        hard_expire_at=tx.now + hard_s * SECOND,
        idle_timeout_s=wish.idle_timeout_s,
    )  # fmt: skip


async def update(
    core: Core, caller: Principal, id: str, *, name: str | None, labels: Mapping[str, str],
    remove_labels: tuple[str, ...], request: RequestKey,
) -> Instance:  # fmt: skip
    """Change name and labels."""
    request.check()
    if name is not None:
        validation.check_name(name)
    validation.check_labels(labels)

    def decide(tx: Transaction) -> Instance:
        row = _found(tx, id)
        if request.replay(tx, caller.account_id):
            return row
        merged = {k: v for k, v in {**row.labels, **labels}.items() if k not in remove_labels}
        validation.check_labels(merged)
        changed = replace(row, name=row.name if name is None else name, labels=merged, updated_at=tx.now)
        tx.put(changed)
        request.record(tx, caller.account_id, id)
        return changed

    loads = [Get(Instance, id), *request.loads(caller.account_id)]
    return await core.store.run(UnitOfWork(caller.scope, loads, decide))


async def terminate(core: Core, caller: Principal, id: str, *, force: bool, request: RequestKey) -> Operation:
    """Ask for the end. While one is under way, or after it, the same operation is returned."""
    request.check()

    def decide(tx: Transaction) -> Operation:
        row = _found(tx, id)
        operation_id = request.replay(tx, caller.account_id)
        if not operation_id:
            operation_id = _terminate(tx, row, force=force, request_id=request.id)
            request.record(tx, caller.account_id, operation_id)
        return _known(tx, operation_id)

    made = await core.store.run(UnitOfWork(caller.scope, end_loads(id, caller, request), decide))
    core.bus.notify(Topic.WORK)
    return made


async def finish(core: Core, caller: Principal, id: str) -> Instance:
    """Ask for the end as a lease would: gracefully, and leaving the disk where that was the wish. Asking again changes
    nothing."""

    def decide(tx: Transaction) -> Instance:
        row = _found(tx, id)
        if row.kept is not None:
            return row
        ending = row.ask_to_end("TERMINATED_BY_CALLER", "finished by the caller", tx.now)
        tx.put(ending)
        poke(tx, id)
        return ending

    made = await core.store.run(UnitOfWork(caller.scope, [Get(Instance, id), Get(WorkItem, id)], decide))
    core.bus.notify(Topic.WORK)
    return made


def end_loads(id: str, caller: Principal, request: RequestKey) -> list[Load]:
    """What `_terminate` needs."""
    return [
        Get(Instance, id), Get(WorkItem, id), Where(Operation, "instance_id", id), *request.loads(caller.account_id),
    ]  # fmt: skip


def _terminate(tx: Transaction, row: Instance, *, force: bool, request_id: str) -> str:
    """Record the wish to end and its operation; returns the operation's id."""
    ending = row.ask_to_end("TERMINATED_BY_CALLER", "terminated by the caller", tx.now, force=force)
    if not row.terminate_operation_id:
        operation = Operation(
            id=str(tx.ids.uuid7()), account_id=row.account_id, instance_id=row.id,
            kind=OperationKind.TERMINATE_INSTANCE, state=OperationState.PENDING, created_at=tx.now,
            updated_at=tx.now, request_id=request_id,
        ).enter("stop", tx.now)  # fmt: skip
        if row.settled:
            operation = operation.finish(OperationState.SUCCEEDED, tx.now)
        ending = replace(ending, terminate_operation_id=operation.id)
        tx.put(operation)
    tx.put(ending)
    poke(tx, row.id)
    return ending.terminate_operation_id


def poke(tx: Transaction, id: str) -> None:
    """Make an instance's work due now, if any is left."""
    item = tx.get(WorkItem, id)
    if item is not None:
        tx.put(item.poked(tx.now))


async def extend(core: Core, caller: Principal, id: str, seconds: int, request: RequestKey) -> Instance:
    """Move the end of the reservation."""
    request.check()

    def decide(tx: Transaction) -> Instance:
        row = _found(tx, id)
        if request.replay(tx, caller.account_id):
            return row
        if row.state in TERMINAL or row.state is State.STOPPING or row.ending or row.kept is not None:
            raise FailedPrecondition(
                f"instance {id} is ending or has ended ({row.state})",
                resource="instance",
                id=id,
                state=row.state,
            )
        if row.expire_at is None:
            raise FailedPrecondition(
                f"instance {id} has no reservation to extend; it runs until terminated",
                resource="instance", id=id, state=row.state,
            )  # fmt: skip
        wanted = row.expire_at + seconds * SECOND
        if row.hard_expire_at is not None and wanted > row.hard_expire_at:
            over = -(-(wanted - row.hard_expire_at) // SECOND)
            raise OutOfRange(
                f"duration {seconds}s goes {over}s past the instance's hard maximum",
                reason="MAX_DURATION_EXCEEDED", hard_expire_time=row.hard_expire_at, wanted=wanted,
            )  # fmt: skip
        extended = replace(row, expire_at=wanted, updated_at=tx.now)
        tx.put(extended)
        request.record(tx, caller.account_id, id)
        return extended

    loads = [Get(Instance, id), *request.loads(caller.account_id)]
    return await core.store.run(UnitOfWork(caller.scope, loads, decide))


def _known(tx: Transaction, id: str) -> Operation:
    operation = tx.get(Operation, id)
    if operation is None:
        raise not_found("operation", id)
    return operation


def _found(tx: Transaction, id: str) -> Instance:
    row = tx.get(Instance, id)
    if row is None:
        raise not_found("instance", id)
    return row
