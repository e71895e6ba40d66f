"""A further SSH key for a running machine, made here for a caller who lost the private one.

The public line is recorded in the wish before the provider is asked, so that a machine which is made anew later has it
too. A kill between the two leaves a line whose private half nobody has: it lets nobody in. A request with a name keeps
the pair, encrypted, and its repeat goes on with that one. Former keys go on working.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from controlplane.domain.errors import FailedPrecondition, PlaneError, Unavailable, not_found
from controlplane.domain.instance import Instance
from controlplane.domain.principal import Principal
from controlplane.domain.state import State
from controlplane.ports.key_pairs import KeyPair
from controlplane.ports.provider import Provider, ProviderError
from controlplane.ports.store import Get, Transaction, UnitOfWork
from controlplane.usecases.asking import ask, provider_of
from controlplane.usecases.core import Core
from controlplane.usecases.idempotency import RequestKey
from controlplane.usecases.instances import instance_of
from controlplane.usecases.sessions import sealed_secret
from controlplane.usecases.wishes import MAX_SSH_KEYS

_SECRET = "instance key"  # what a pair is sealed for

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What stands in the store: the instance with its new key, and the pair as it was sealed with the request."""

    instance: Instance
    sealed: str


async def rekey(core: Core, caller: Principal, id: str, request: RequestKey) -> KeyPair:
    """A new pair that the machine lets in, beside the keys that it has. Raises FailedPrecondition where the machine
    does not run or its provider adds no keys, and Unavailable where the provider did not take it."""
    request.check()
    _provider_for(core, await instance_of(core, caller, id))  # before a pair is spent on it
    fresh = await core.key_pairs.take()
    sealed = _sealed(core, caller, request, fresh)
    try:
        recorded = await _record(core, caller, id, request, fresh.public_line, sealed)
    except Unavailable:
        raise  # it may have been recorded all the same
    except PlaneError:
        core.key_pairs.give_back(fresh)
        raise
    pair = fresh
    if recorded.sealed != sealed:  # another process was faster with the same request
        core.key_pairs.give_back(fresh)
        pair = _opened(core, caller, request, recorded.sealed)
    try:
        await _install(core, recorded.instance, pair.public_line)
    except PlaneError:
        if not request.id:  # nobody can ask for this pair again
            await _forget(core, caller, id, pair.public_line)
        raise
    return pair


async def rekey_again(core: Core, caller: Principal, id: str, request: RequestKey) -> KeyPair:
    """The pair of a named request that was recorded and perhaps no more than that. Raises Aborted once it may no longer
    be shown."""
    pair = _opened(core, caller, request, await sealed_secret(core, caller, request))
    await _install(core, await instance_of(core, caller, id), pair.public_line)
    return pair


async def _record(core: Core, caller: Principal, id: str, request: RequestKey, line: str, sealed: str) -> _Recorded:
    """Add the line to the wish, or find what the same request recorded before."""

    def decide(tx: Transaction) -> _Recorded:
        row = tx.get(Instance, id)
        if row is None:
            raise not_found("instance", id)
        if request.replay(tx, caller.account_id):
            return _Recorded(row, request.sealed(tx, caller.account_id))
        _provider_for(core, row)
        if len(row.wish.ssh_public_keys) >= MAX_SSH_KEYS:
            raise _conflict(row, f"{id} has {MAX_SSH_KEYS} SSH keys, which is the most")
        keyed = row.with_key(line, tx.now)
        tx.put(keyed)
        request.record(tx, caller.account_id, id, sealed)
        return _Recorded(keyed, sealed)

    loads = [Get(Instance, id), *request.loads(caller.account_id)]
    return await core.store.run(UnitOfWork(caller.scope, loads, decide))


async def _forget(core: Core, caller: Principal, id: str, line: str) -> None:
    """Take a line out of the wish whose private half is lost."""

    def decide(tx: Transaction) -> None:
        row = tx.get(Instance, id)
        if row is not None:
            tx.put(row.without_key(line, tx.now))

    await core.store.run(UnitOfWork(caller.scope, [Get(Instance, id)], decide))


async def _install(core: Core, row: Instance, line: str) -> None:
    provider = _provider_for(core, row)
    try:
        await ask(core, provider, "add_key", provider.add_key(row.machine_id, line))
    except ProviderError as error:
        log.warning("provider.key_not_added", provider=row.provider, instance=row.id, error=str(error))
        raise _unavailable(row) from None


def _provider_for(core: Core, row: Instance) -> Provider:
    """Who can let a key into the machine now, or why nobody can."""
    if row.state is not State.RUNNING:
        raise _conflict(row, f"{row.id} is not running ({row.state}); only a running machine can be given a key")
    if row.ending:
        raise _conflict(row, f"{row.id} is about to end; its machine is given no key any more")
    if not row.ssh_host:
        raise _conflict(row, f"{row.id} has no SSH server; no key opens it")
    try:
        provider = provider_of(core, row)
    except ProviderError:
        raise _unavailable(row) from None
    if not provider.capabilities.add_keys:
        raise _conflict(
            row,
            f"{row.provider} cannot change the keys of a machine that it has made: {row.id} keeps those that it has",
        )
    return provider


def _conflict(row: Instance, message: str) -> FailedPrecondition:
    return FailedPrecondition(message, resource="instance", id=row.id, state=row.state)


def _unavailable(row: Instance) -> Unavailable:
    return Unavailable(
        f"{row.provider} did not take the key; try again", reason="PROVIDER_UNAVAILABLE", provider=row.provider
    )


def _sealed(core: Core, caller: Principal, request: RequestKey, pair: KeyPair) -> str:
    """The pair for a repeat of a named request, should the first answer be lost; empty without a name."""
    text = f"{pair.public_line}\n{pair.private_pem}"
    return core.secrets.seal(_SECRET, request.key(caller.account_id), text.encode()) if request.id else ""


def _opened(core: Core, caller: Principal, request: RequestKey, sealed: str) -> KeyPair:
    line, _, pem = core.secrets.open(_SECRET, request.key(caller.account_id), sealed).decode().partition("\n")
    return KeyPair(line, pem)
