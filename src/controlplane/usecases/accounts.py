"""Tenants. Operators only; the API checks that before it calls."""

from __future__ import annotations

import re
from dataclasses import replace

from controlplane.domain import ids as id_forms
from controlplane.domain.account import Account, ApiKey
from controlplane.domain.credential import ProviderCredential
from controlplane.domain.errors import invalid, not_found
from controlplane.domain.principal import ALL, OPERATOR
from controlplane.domain.work import WorkItem
from controlplane.ports.bus import Topic
from controlplane.ports.store import Get, LiveInstances, Load, Transaction, UnitOfWork, Where
from controlplane.usecases import validation
from controlplane.usecases.core import Core
from controlplane.usecases.idempotency import RequestKey
from controlplane.usecases.keys import KeyAuthenticator

_CURRENCY = re.compile(r"[A-Z]{3}")


async def create(core: Core, name: str, currency: str, max_instances: int, request: RequestKey) -> Account:
    """Make a tenant; it has no key yet."""
    validation.check_name(name, required=True)
    request.check()
    if not _CURRENCY.fullmatch(currency):
        raise invalid("currency", "must be an ISO 4217 code such as USD", currency)
    if not 1 <= max_instances <= 100_000:
        raise invalid("max_instances", "must be from 1 to 100000", max_instances)

    def decide(tx: Transaction) -> Account | str:
        if first := request.replay(tx, OPERATOR):
            return first
        account = Account(id_forms.encode(id_forms.ACCOUNT, tx.ids.uuid7()), name, currency, max_instances, tx.now)
        tx.put(account)
        request.record(tx, OPERATOR, account.id)
        return account

    made = await core.store.run(UnitOfWork(ALL, request.loads(OPERATOR), decide))
    return await account_of(core, made) if isinstance(made, str) else made


async def account_of(core: Core, id: str) -> Account:
    """One account, or NotFound."""
    found = await core.store.get(ALL, Account, id)
    if found is None:
        raise not_found("account", id, "here")
    return found


async def close(core: Core, id: str, authenticator: KeyAuthenticator) -> Account:
    """End all machines and keys of an account, for good. Idempotent."""

    def mark(tx: Transaction) -> tuple[Account, list[str], list[ApiKey]]:
        account = tx.get(Account, id)
        if account is None:
            raise not_found("account", id, "here")
        closed = replace(account, closed_at=account.closed_at or tx.now)
        tx.put(closed)
        keys = [replace(k, revoked_at=k.revoked_at or tx.now) for k in tx.where(ApiKey, "account_id", id)]
        for key in keys:
            tx.put(key)
        for credential in tx.where(ProviderCredential, "account_id", id):
            tx.put(replace(credential, revoked_at=credential.revoked_at or tx.now))
        live = tx.live_instances(id)
        for row in live:
            ended = row.ask_to_end("ACCOUNT_CLOSED", "the account was closed", tx.now, force=row.wish.preserve)
            tx.put(ended)  # and no disk is kept
        return closed, [row.id for row in live], keys

    owned = [Where(table, "account_id", id) for table in (ApiKey, ProviderCredential)]
    loads: list[Load] = [Get(Account, id), *owned, LiveInstances(id)]
    closed, live, keys = await core.store.run(UnitOfWork(ALL, loads, mark))
    for key in keys:
        authenticator.forget(key)

    def poke(tx: Transaction) -> None:
        for instance_id in live:
            item = tx.get(WorkItem, instance_id)
            if item is not None:
                tx.put(item.poked(tx.now))

    # A crash in between is harmless: the wish to end is in the rows, and every live row is looked at regularly.
    await core.store.run(UnitOfWork(ALL, [Get(WorkItem, instance_id) for instance_id in live], poke))
    core.bus.notify(Topic.WORK)
    return closed
