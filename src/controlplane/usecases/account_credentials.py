"""What accounts do with the credentials that they bring along. The secret goes in and never comes out."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from controlplane.domain import ids as id_forms
from controlplane.domain.account import Account
from controlplane.domain.credential import ProviderCredential
from controlplane.domain.errors import AlreadyExists, ResourceExhausted, invalid, not_found
from controlplane.domain.principal import Principal
from controlplane.domain.records import replace
from controlplane.ports.store import Get, Load, Transaction, UnitOfWork, Where
from controlplane.usecases import validation
from controlplane.usecases.core import Core
from controlplane.usecases.idempotency import RequestKey

SEALED = "provider-credential"  # what their secrets are sealed for
PREFIX = "cred"  # of their ids
MAX_HELD = 16  # credentials of an account whose secret is held: each costs every server process a client and a sweep

_LONGEST_SECRET = 4096
_VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A marketplace's API key, as its account gives it."""

    provider: str
    name: str
    secret: str = field(repr=False)

    def check(self, core: Core) -> None:
        """Raise InvalidArgument for what cannot be one. The secret is never repeated."""
        if self.provider not in core.credentials.marketplaces:
            known = ", ".join(core.credentials.marketplaces)
            raise invalid("provider", f"must be among {known}", self.provider)
        validation.check_name(self.name, required=True)
        if len(self.secret) > _LONGEST_SECRET or not _VISIBLE.fullmatch(self.secret):
            rule = f"must be 1 to {_LONGEST_SECRET} visible ASCII characters"
            raise invalid("secret", rule, f"{len(self.secret)} characters")

    @property
    def fingerprint(self) -> str:
        """What it is recognised by."""
        return hashlib.sha256(self.secret.encode()).hexdigest()[:12]


async def create(core: Core, caller: Principal, wish: NewCredential, request: RequestKey) -> ProviderCredential:
    """Store a credential. Within seconds the account's purchases at that provider are made under it."""
    validation.check_tenant(caller)
    wish.check(core)
    request.check()
    account_id = caller.account_id

    def decide(tx: Transaction) -> str:
        if first := request.replay(tx, account_id):
            return first
        validation.check_open(tx.get(Account, account_id))
        _check_room(wish, tx.where(ProviderCredential, "account_id", account_id))
        id = id_forms.encode(PREFIX, tx.ids.uuid7())
        sealed = core.secrets.seal(SEALED, id, wish.secret.encode())
        tx.put(ProviderCredential(id, account_id, wish.provider, wish.name, sealed, wish.fingerprint, tx.now))
        request.record(tx, account_id, id)
        return id

    loads: list[Load] = [
        Get(Account, account_id), Where(ProviderCredential, "account_id", account_id), *request.loads(account_id),
    ]  # fmt: skip
    return await credential_of(core, caller, await core.store.run(UnitOfWork(caller.scope, loads, decide)))


def _check_room(wish: NewCredential, have: list[ProviderCredential]) -> None:
    held = [row for row in have if row.sealed]
    for row in held:
        if row.revoked_at is None and (row.provider, row.fingerprint) == (wish.provider, wish.fingerprint):
            raise AlreadyExists(
                f"the account has this key of {wish.provider} already, as {row.id}",
                resource="provider credential", field="secret", value=row.id,
            )  # fmt: skip
    if len(held) >= MAX_HELD:
        raise ResourceExhausted(
            f"the account has {len(held)} provider credentials whose key is held, which is its limit",
            reason="QUOTA_EXCEEDED", resource="provider credentials", limit=MAX_HELD,
        )  # fmt: skip


async def credential_of(core: Core, caller: Principal, id: str) -> ProviderCredential:
    """One credential, or NotFound."""
    return _existing(await core.store.get(caller.scope, ProviderCredential, id), id)


def _existing(row: ProviderCredential | None, id: str) -> ProviderCredential:
    if row is None:
        raise not_found("provider credential", id)
    return row


async def credentials(
    core: Core, caller: Principal, before_id: str, limit: int
) -> list[tuple[str, ProviderCredential]]:
    """A page of the account's credentials, newest first; for `pages.read_page`."""
    where: dict[str, object] = {"account_id": caller.account_id}
    rows = await core.store.select(caller.scope, ProviderCredential, where, before_id, limit)
    return [(row.id, row) for row in rows]


async def revoke(core: Core, caller: Principal, id: str) -> ProviderCredential:
    """End buying under a credential, for good; what was bought under it is returned with it. Idempotent."""

    def decide(tx: Transaction) -> ProviderCredential:
        row = _existing(tx.get(ProviderCredential, id), id)
        row = replace(row, revoked_at=row.revoked_at or tx.now)
        tx.put(row)
        return row

    return await core.store.run(UnitOfWork(caller.scope, [Get(ProviderCredential, id)], decide))
