"""What callers can do with operations."""

from __future__ import annotations

from controlplane.domain.errors import FailedPrecondition, not_found
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation, OperationKind
from controlplane.domain.principal import Principal
from controlplane.domain.records import replace
from controlplane.domain.work import WorkItem
from controlplane.ports.bus import Topic
from controlplane.ports.store import Get, Transaction, UnitOfWork
from controlplane.usecases.core import Core
from controlplane.usecases.instances import operation_of, poke


async def cancel(core: Core, caller: Principal, id: str) -> Operation:
    """Ask a create to stop; the machine, if one was made, is returned."""
    operation = await operation_of(core, caller, id)
    if operation.kind is OperationKind.TERMINATE_INSTANCE and not operation.done:
        raise FailedPrecondition(
            "the end of a machine cannot be cancelled", resource="operation", id=id, state=operation.state
        )

    def decide(tx: Transaction) -> Operation:
        current, row = tx.get(Operation, id), tx.get(Instance, operation.instance_id)
        if current is None or row is None:
            raise not_found("operation", id)
        if current.done:
            return current
        cancelled = replace(current, cancel_requested=True, updated_at=tx.now)
        tx.put(cancelled)
        tx.put(row.ask_to_end("CANCELLED", "the create operation was cancelled", tx.now, force=True))
        poke(tx, row.id)
        return cancelled

    loads = [Get(Operation, id), Get(Instance, operation.instance_id), Get(WorkItem, operation.instance_id)]
    now = await core.store.run(UnitOfWork(caller.scope, loads, decide))
    core.bus.notify(Topic.WORK)
    return now
