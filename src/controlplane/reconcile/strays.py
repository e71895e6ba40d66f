"""The rows of strays: kept in step with what sweeps see, and turned into instances on request."""

from __future__ import annotations

from collections.abc import Mapping, Set

from controlplane.domain import ids as id_forms
from controlplane.domain.account import Account
from controlplane.domain.billing import SECOND, BillingPolicy
from controlplane.domain.instance import Instance, Wish
from controlplane.domain.metering import ProviderMeter
from controlplane.domain.operation import Attempt, Operation, OperationKind, OperationState, Outcome
from controlplane.domain.principal import ALL
from controlplane.domain.records import replace
from controlplane.domain.state import State
from controlplane.domain.stray import StrayMachine, StrayWish
from controlplane.domain.work import WorkItem
from controlplane.ports.bus import Topic
from controlplane.ports.provider import LaunchMode, Machine, Provider
from controlplane.ports.store import Get, Transaction, UnitOfWork
from controlplane.usecases.core import Core

BATCH = 100  # rows in one unit of work
PREPAID_S = 3600  # what machines paid in advance are paid for at a time, unless somebody knows better


async def known(core: Core, provider: str, credential_ids: Set[str]) -> list[StrayMachine]:
    """All rows of a provider under these credentials."""
    rows: list[StrayMachine] = []
    before = ""
    while page := await core.store.select(ALL, StrayMachine, {"provider": provider}, before, 500):
        before = page[-1].id
        rows += [row for row in page if row.credential_id in credential_ids]
    return rows


async def record(core: Core, seen: Mapping[str, StrayMachine], gone: Set[str]) -> dict[str, StrayMachine]:
    """Upsert what was seen and remove what is a stray no more. The rows as they are then, with the wishes in them."""
    ids = [*seen, *gone]
    rows: dict[str, StrayMachine] = {}
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]

        def decide(tx: Transaction, batch: list[str] = batch) -> list[StrayMachine]:
            made = []
            for id in batch:
                if id in gone:
                    tx.delete(StrayMachine, id)
                else:
                    made.append(seen[id].after(tx.get(StrayMachine, id)))
                    tx.put(made[-1])
            return made

        made = await core.store.run(UnitOfWork(ALL, [Get(StrayMachine, id) for id in batch], decide))
        rows |= {row.id: row for row in made}
    return rows


async def forget(core: Core, id: str) -> None:
    """The provider confirmed that the machine is gone."""
    await core.store.run(UnitOfWork(ALL, [Get(StrayMachine, id)], lambda tx: tx.delete(StrayMachine, id)))


async def note(core: Core, row: StrayMachine, error: str) -> None:
    """Tell operators why nothing came of it yet."""
    if row.error == error:
        return

    def decide(tx: Transaction) -> None:
        fresh = tx.get(StrayMachine, row.id)
        if fresh is not None:
            tx.put(replace(fresh, error=error))

    await core.store.run(UnitOfWork(ALL, [Get(StrayMachine, row.id)], decide))


async def adopt(core: Core, provider: Provider, credential_id: str, row: StrayMachine, machine: Machine) -> bool:
    """Make the machine an instance of the account that was named, in one commit: then the row of the stray is gone,
    and the instance loop takes the machine up. False when that is no longer wished, or was done by somebody else."""

    def decide(tx: Transaction) -> bool:
        fresh = tx.get(StrayMachine, row.id)
        if fresh is None or fresh.wish is not StrayWish.ADOPT or tx.get(Instance, row.instance_id) is not None:
            return False
        account = tx.get(Account, fresh.account_id)
        if account is None or account.closed_at is not None:
            tx.put(replace(fresh, error=f"the account {fresh.account_id} is closed or does not exist"))
            return False
        operation, instance = _adopted(core, tx, provider, account, fresh, machine)
        tx.put(replace(instance, credential_id=credential_id))
        tx.put(operation)
        tx.put(WorkItem(instance.id, due_at=tx.now, provider=provider.name, host_id=machine.host_id))
        tx.delete(StrayMachine, fresh.id)
        return True

    loads = [
        Get(StrayMachine, row.id), Get(Instance, row.instance_id), Get(WorkItem, row.instance_id),
        Get(Account, row.account_id),
    ]  # fmt: skip
    done = await core.store.run(UnitOfWork(ALL, loads, decide))
    core.bus.notify(Topic.WORK)
    return done


def _meter(provider: Provider, price: int, made_at: int, machine: Machine) -> ProviderMeter | None:
    """Machines paid in advance have to be paid on."""
    if not provider.capabilities.extend:
        return None
    begun = ProviderMeter(price, made_at, prepaid_s=PREPAID_S).begun(made_at)
    return begun if machine.paid_until is None else replace(begun, paid_until=machine.paid_until)


def _adopted(
    core: Core, tx: Transaction, provider: Provider, account: Account, row: StrayMachine, machine: Machine
) -> tuple[Operation, Instance]:
    """The rows that a create would have left at the moment when the provider had made the machine.

    What it was bought as nobody knows any more, so the wish names neither offer nor requirements, and nothing replaces
    the machine should it not become usable.
    """
    parsed = id_forms.parse_label(row.label)
    assert parsed is not None, "only labels of ours become strays"
    _, instance_id, attempt = parsed
    made_at = min(machine.created_at or row.first_seen_at, tx.now)
    price = machine.price_nano_per_hour or row.price_nano_per_hour
    bought = Attempt(
        attempt, "", provider.name, price, account.currency, made_at, Outcome.CREATED, "adopted", ended_at=tx.now
    )
    operation = Operation(
        id=str(tx.ids.uuid7()), account_id=account.id, instance_id=instance_id, kind=OperationKind.CREATE_INSTANCE,
        state=OperationState.PENDING, created_at=tx.now, updated_at=tx.now,
    ).attempting(bought, tx.now).enter("start", tx.now)  # fmt: skip
    instance = Instance(
        id=instance_id, account_id=account.id, create_operation_id=operation.id, wish=Wish(mode=_mode(machine).value),
        billing=BillingPolicy(), currency=account.currency, created_at=tx.now, updated_at=tx.now,
        state=State.STARTING, provider=provider.name, price_nano_per_hour=price, host_id=machine.host_id,
        attempt=attempt, label=row.label, machine_id=machine.id, machine_at=made_at,
        meter=_meter(provider, price, made_at, machine),
        provider_expire_at=machine.expires_at,
        start_deadline_at=tx.now + int(provider.capabilities.start_deadline_s * SECOND),
        hard_expire_at=tx.now + core.policy.max_duration_s * SECOND,
    )  # fmt: skip
    return operation, instance


def _mode(machine: Machine) -> LaunchMode:
    """What the machine must have been launched as."""
    if machine.jupyter_url:
        return LaunchMode.JUPYTER
    return LaunchMode.MODEL if machine.model_url and machine.ssh is None else LaunchMode.SSH
