"""One worker's hold on one instance: renewed while it acts, checked when it writes.

A step loads, acts outside any transaction, and applies its findings through `Tenure.apply`, which refuses with
LeaseLost once another worker has taken over. Findings are applied to the row as it is then, not as it was loaded:
callers may have changed it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controlplane.domain.billing import SECOND
from controlplane.domain.budget import Budget
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation
from controlplane.domain.principal import ALL
from controlplane.domain.records import replace
from controlplane.domain.work import LeaseLost, WorkItem
from controlplane.ports.bus import Topic
from controlplane.ports.store import Get, Load, Transaction, UnitOfWork, Where
from controlplane.usecases.core import Core


@dataclass(slots=True)
class Rows:
    """An instance with all that its steps may change. Assign, then `save`."""

    tx: Transaction
    instance: Instance
    create: Operation | None
    terminate: Operation | None
    budgets: list[Budget]
    _loaded: tuple[object, ...] = ()

    def __post_init__(self) -> None:
        self._loaded = self._all()

    @classmethod
    def loads(cls, instance: Instance) -> list[Load]:
        """What `of` needs loaded."""
        return [
            Get(Instance, instance.id),
            Where(Operation, "instance_id", instance.id),
            Where(Budget, "account_id", instance.account_id),
        ]

    @classmethod
    def of(cls, tx: Transaction, instance: Instance) -> Rows:
        """An instance's rows, budgets as of now."""
        return cls(
            tx, instance, tx.get(Operation, instance.create_operation_id),
            tx.get(Operation, instance.terminate_operation_id),
            [budget.rolled(tx.now) for budget in tx.where(Budget, "account_id", instance.account_id)],
        )  # fmt: skip

    def _all(self) -> tuple[Instance | Operation | Budget | None, ...]:
        return (self.instance, self.create, self.terminate, *self.budgets)

    @property
    def now(self) -> int:
        """The commit's time."""
        return self.tx.now

    def save(self) -> None:
        """Put everything that changed."""
        for row, before in zip(self._all(), self._loaded, strict=True):
            if row is not None and row != before:
                self.tx.put(row)


Findings = Callable[[Rows], None]

DueIn = float | Callable[[Instance, int], float]
"""Seconds to the next look, at once if the state moved; or how to tell them from the row and the commit's time."""


class Tenure:
    """(instance, holder, fence): valid until the lease runs out or somebody else claims."""

    def __init__(
        self, core: Core, item: WorkItem, instance: Instance, create: Operation | None, lease_s: float
    ) -> None:
        self.core = core
        self.id = item.id
        self.holder = item.holder
        self.fence = item.fence
        self.failures = item.failures
        self.provider = item.provider
        self.lease = int(lease_s * SECOND)
        self.create = create  # as of the last commit under this hold; nobody else writes its attempts
        self._known = instance

    async def apply(self, findings: Findings, *, due_in_s: DueIn | None = None, failed: bool = False) -> Instance:
        """Apply findings to the fresh rows. With `due_in_s` the hold ends and the next look is then; without it the
        hold goes on. A settled instance's work item is removed."""
        create = self.create

        def decide(tx: Transaction) -> Instance:
            nonlocal create
            item = tx.get(WorkItem, self.id)
            if item is None or not item.held_by(self.holder, self.fence):
                raise LeaseLost(self.id)
            fresh = tx.get(Instance, self.id)
            if fresh is None:
                raise LeaseLost(self.id)
            rows = Rows.of(tx, fresh)
            before = rows.instance.state
            findings(rows)
            rows.save()
            create = rows.create
            if callable(due_in_s):
                after_s: float | None = due_in_s(rows.instance, tx.now)
            else:
                after_s = due_in_s if due_in_s is None or rows.instance.state is before else 0.0
            self._put_item(tx, item, rows.instance, after_s, failed)
            return rows.instance

        loads = [Get(WorkItem, self.id), *Rows.loads(self._known)]
        applied = await self.core.store.run(UnitOfWork(ALL, loads, decide))
        self.create = create
        if due_in_s is not None:
            self.core.bus.notify(Topic.WORK)  # the loop may sleep for longer than that
        return applied

    def _put_item(
        self, tx: Transaction, item: WorkItem, instance: Instance, due_in_s: float | None, failed: bool
    ) -> None:
        if instance.settled:
            tx.delete(WorkItem, self.id)
            return
        item = replace(item, provider=instance.provider or item.provider, host_id=instance.host_id)
        if due_in_s is None:
            tx.put(item.renewed(tx.now, self.lease))
        else:
            tx.put(item.released(tx.now + int(due_in_s * SECOND), failed=failed))


async def renew(core: Core, tenures: list[Tenure]) -> None:
    """Extend the leases of all tenures in one commit; those that were lost are left alone."""

    def decide(tx: Transaction) -> None:
        for tenure in tenures:
            item = tx.get(WorkItem, tenure.id)
            if item is not None and item.held_by(tenure.holder, tenure.fence):
                tx.put(item.renewed(tx.now, tenure.lease))

    if tenures:
        await core.store.run(UnitOfWork(ALL, [Get(WorkItem, tenure.id) for tenure in tenures], decide))


def nothing(rows: Rows) -> None:
    """Findings that change nothing."""
