"""SSH keys and API keys of an account."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from controlplane.domain import ids as id_forms
from controlplane.domain.account import (
    Account,
    ApiKey,
    SshKey,
    hash_secret,
)
from controlplane.domain.billing import SECOND
from controlplane.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    invalid,
    not_found,
)
from controlplane.domain.key_format import CANONICAL_KEYS, KeyFormat
from controlplane.domain.principal import ALL, OPERATOR, SCOPES, Principal, Scope
from controlplane.ports.clock import Clock
from controlplane.ports.store import Get, Load, Store, Transaction, UnitOfWork, Where
from controlplane.usecases import validation
from controlplane.usecases.core import Core
from controlplane.usecases.idempotency import RequestKey

YEAR_10000 = 253_402_300_800 * 1_000_000  # past it protobuf has no timestamps, and SQL no integers


async def create_ssh_key(core: Core, caller: Principal, name: str, public_key: str, request: RequestKey) -> SshKey:
    """Store a public key under a name that is unique in the account."""
    validation.check_tenant(caller)
    validation.check_name(name, required=True)
    request.check()
    parsed = await core.ssh_keys.parse(public_key)
    if parsed is None:
        raise invalid("public_key", "must be one OpenSSH public key without options", public_key)
    account_id = caller.account_id

    def decide(tx: Transaction) -> SshKey | str:
        if first := request.replay(tx, account_id):
            return first
        validation.check_open(tx.get(Account, account_id))
        have = tx.where(SshKey, "account_id", account_id)
        if any(key.name == name for key in have):
            raise AlreadyExists(f"an SSH key named {name!r} exists", resource="SSH key", field="name", value=name)
        _check_quota("SSH keys", len(have), core.policy.max_keys)
        key = SshKey(
            id_forms.encode(id_forms.SSH_KEY, tx.ids.uuid7()),
            account_id,
            name,
            parsed.line,
            parsed.fingerprint,
            tx.now,
        )
        tx.put(key)
        request.record(tx, account_id, key.id)
        return key

    loads = [Get(Account, account_id), Where(SshKey, "account_id", account_id), *request.loads(account_id)]
    made = await core.store.run(UnitOfWork(caller.scope, loads, decide))
    return await ssh_key_of(core, caller, made) if isinstance(made, str) else made


def _check_quota(what: str, have: int, limit: int) -> None:
    if have >= limit:
        raise ResourceExhausted(
            f"the account has {limit} {what}, which is its limit",
            reason="QUOTA_EXCEEDED",
            resource=what,
            limit=limit,
        )


def _working(tx: Transaction, account_id: str) -> int:
    """Keys that still open something: those that were replaced stay in the list, not in the quota."""
    return sum(key.works(tx.now) for key in tx.where(ApiKey, "account_id", account_id))


async def ssh_key_of(core: Core, caller: Principal, id: str) -> SshKey:
    """One SSH key, or NotFound."""
    found = await core.store.get(caller.scope, SshKey, id)
    if found is None:
        raise not_found("SSH key", id)
    return found


async def delete_ssh_key(core: Core, caller: Principal, id: str, request: RequestKey) -> None:
    """Forget an SSH key; machines keep it."""
    request.check()

    def decide(tx: Transaction) -> None:
        if request.replay(tx, caller.account_id):
            return
        if tx.get(SshKey, id) is None:
            raise not_found("SSH key", id)
        tx.delete(SshKey, id)
        request.record(tx, caller.account_id, id)

    await core.store.run(UnitOfWork(caller.scope, [Get(SshKey, id), *request.loads(caller.account_id)], decide))


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """What a new key is to be. `account_id` other than the caller's is for operators."""

    name: str
    scopes: tuple[str, ...] = ()
    expires_at: int | None = None
    account_id: str = ""
    format: KeyFormat = CANONICAL_KEYS

    def check(self, core: Core, caller: Principal) -> None:
        """Raise for what the caller may not ask. A key cannot give more than it has."""
        validation.check_name(self.name, required=True)
        if self.account_id and not caller.operator and self.account_id != caller.account_id:
            raise PermissionDenied("only an operator may name an account", reason="OPERATOR_ONLY")
        if caller.operator and self.account_id in ("", OPERATOR):
            raise invalid("account_id", "must name an account when the caller is an operator", self.account_id)
        for scope in self.scopes:
            if scope not in self.format.scopes:
                raise invalid("scopes", f"must be among {', '.join(self.format.scopes)}", scope)
            if scope not in caller.scopes:
                raise PermissionDenied(f"the calling key does not have scope {scope} to give", scope=scope)
        if self.expires_at is not None and self.expires_at <= core.clock.now():
            raise invalid("expire_time", "must be in the future", self.expires_at)
        if self.expires_at is not None and self.expires_at >= YEAR_10000:
            raise invalid("expire_time", "must lie before the year 10000", self.expires_at)

    def granted(self, caller: Principal) -> tuple[str, ...]:
        """The scopes that the key gets."""
        if self.scopes:
            return self.scopes
        given = self.format.scopes if self.format.default_scopes is None else self.format.default_scopes
        return tuple(scope for scope in given if scope in caller.scopes)


async def create_api_key(core: Core, caller: Principal, wish: NewApiKey, request: RequestKey) -> tuple[ApiKey, str]:
    """A new key and its secret. The secret is kept nowhere but, encrypted and for minutes, beside a request id."""
    wish.check(core, caller)
    request.check()
    owner = wish.account_id or caller.account_id
    secret = wish.format.mint(core.ids.entropy(24))

    def decide(tx: Transaction) -> tuple[str, str]:
        if first := request.replay(tx, caller.account_id):
            return first, request.sealed(tx, caller.account_id)
        account = tx.get(Account, owner)
        if account is None:
            raise not_found("account", owner)
        validation.check_open(account)
        _check_quota("API keys", _working(tx, owner), core.policy.max_keys)
        key = ApiKey(
            id_forms.encode(id_forms.API_KEY, tx.ids.uuid7()), owner, wish.name, wish.format.recognisable(secret),
            hash_secret(secret), wish.granted(caller), tx.now, wish.expires_at, dialect=wish.format.dialect,
        )  # fmt: skip
        tx.put(key)
        sealed = core.secrets.seal("api-key", key.id, secret.encode()) if request.id else ""
        request.record(tx, caller.account_id, key.id, sealed)
        return key.id, sealed

    loads: list[Load] = [Get(Account, owner), Where(ApiKey, "account_id", owner), *request.loads(caller.account_id)]
    id, sealed = await core.store.run(UnitOfWork(caller.scope, loads, decide))
    shown = core.secrets.open("api-key", id, sealed).decode() if sealed else secret
    return await api_key_of(core, caller, id), shown


async def api_key_of(core: Core, caller: Principal, id: str) -> ApiKey:
    """One API key, or NotFound."""
    found = await core.store.get(caller.scope, ApiKey, id)
    if found is None:
        raise not_found("API key", id)
    return found


async def rotate_api_key(
    core: Core, caller: Principal, id: str, format: KeyFormat, overlap_s: int, request: RequestKey,
    authenticator: KeyAuthenticator,
) -> tuple[ApiKey, ApiKey, str]:  # fmt: skip
    """A new key like an old one, its secret, and the old one, which stops working after the overlap.

    The secret is repeated as in `create_api_key`. A caller cannot rotate what has more scopes than itself: it would
    gain them.
    """
    request.check()
    secret = format.mint(core.ids.entropy(24))
    account_id = caller.account_id

    def decide(tx: Transaction) -> tuple[str, str]:
        old = tx.get(ApiKey, id)
        if old is None:
            raise not_found("API key", id)
        if first := request.replay(tx, account_id):
            return first, request.sealed(tx, account_id)
        if lacking := [scope for scope in old.scopes if scope not in caller.scopes]:
            raise PermissionDenied(f"the calling key does not have scope {lacking[0]} to give", scope=lacking[0])
        if not old.works(tx.now):
            raise FailedPrecondition(f"API key {id} is revoked or expired", resource="API key", id=id)
        _check_quota("API keys", _working(tx, old.account_id), core.policy.max_keys)
        ends = tx.now + overlap_s * SECOND
        tx.put(replace(old, expires_at=min(ends, old.expires_at or ends)))
        new = replace(
            old, id=id_forms.encode(id_forms.API_KEY, tx.ids.uuid7()), prefix=format.recognisable(secret),
            secret_sha256=hash_secret(secret), created_at=tx.now,
        )  # fmt: skip
        tx.put(new)
        sealed = core.secrets.seal("api-key", new.id, secret.encode()) if request.id else ""
        request.record(tx, account_id, new.id, sealed)
        return new.id, sealed

    loads: list[Load] = [Get(ApiKey, id), Where(ApiKey, "account_id", account_id), *request.loads(account_id)]
    new_id, sealed = await core.store.run(UnitOfWork(caller.scope, loads, decide))
    old, new = await api_key_of(core, caller, id), await api_key_of(core, caller, new_id)
    authenticator.forget(old)
    return new, old, core.secrets.open("api-key", new_id, sealed).decode() if sealed else secret


async def revoke_api_key(core: Core, caller: Principal, id: str, authenticator: KeyAuthenticator) -> ApiKey:
    """End a key, for good. Idempotent."""

    def decide(tx: Transaction) -> ApiKey:
        key = tx.get(ApiKey, id)
        if key is None:
            raise not_found("API key", id)
        ended = replace(key, revoked_at=key.revoked_at or tx.now)
        tx.put(ended)
        return ended

    key = await core.store.run(UnitOfWork(caller.scope, [Get(ApiKey, id)], decide))
    authenticator.forget(key)
    return key


class KeyAuthenticator:
    """Turns a bearer token into a Principal. Answers are remembered for less than a second, so that a revocation on
    any replica takes effect within one."""

    REMEMBER_S = 0.8

    def __init__(
        self, store: Store, clock: Clock, operator_sha256: str, formats: Sequence[KeyFormat] = (CANONICAL_KEYS,)
    ) -> None:
        self._store = store
        self._formats = formats
        self._clock = clock
        self._operator_sha256 = operator_sha256
        self._operator = Principal(OPERATOR, OPERATOR, frozenset(SCOPES), operator=True)
        self._known: dict[str, tuple[float, Principal, int | None]] = {}
        self._asked: dict[str, asyncio.Task[Principal]] = {}

    def cached(self, token: str, dialect: str) -> Principal | None:
        """The caller of a token seen within the last moment; None: ask `authenticate`."""
        known = self._known.get(token)
        if known is None or known[0] < self._clock.monotonic() or known[1].dialect != dialect:
            return None
        if known[2] is not None and known[2] <= self._clock.now():
            return None
        return known[1]

    async def authenticate(self, token: str, dialect: str) -> Principal:
        """The caller of a token, which must be one of the dialect's; raises Unauthenticated."""
        formats = [form for form in self._formats if form.dialect == dialect]
        if not any(form.well_formed(token) for form in formats):
            prefixes = " or ".join(form.prefix for form in formats)
            raise Unauthenticated(f"the API key is malformed: it begins with {prefixes} and ends with a checksum")
        digest = hash_secret(token)
        if digest == self._operator_sha256:
            return self._remember(token, self._operator, None)
        asked = self._asked.get(token)
        if asked is None:  # one look for all calls of a moment: thousands of streams come back at once
            asked = self._asked[token] = asyncio.create_task(self._look_up(token, digest), name="look-up-key")
            asked.add_done_callback(lambda _: self._asked.pop(token))
        return await asyncio.shield(asked)  # a caller who leaves does not end it for the others

    async def _look_up(self, token: str, digest: str) -> Principal:
        keys = await self._store.select(ALL, ApiKey, {"secret_sha256": digest}, "", 1)
        if not keys or not keys[0].works(self._clock.now()):
            self._known.pop(token, None)
            raise Unauthenticated("the API key is unknown, revoked or expired")
        key = keys[0]
        caller = Principal(key.account_id, key.id, frozenset(key.scopes), dialect=key.dialect)
        return self._remember(token, caller, key.expires_at)

    def _remember(self, token: str, principal: Principal, expires_at: int | None) -> Principal:
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[token] = (self._clock.monotonic() + self.REMEMBER_S, principal, expires_at)
        return principal

    def forget(self, key: ApiKey) -> None:
        """Drop what is remembered of a key, at once."""
        self._known = {t: known for t, known in self._known.items() if known[1].key_id != key.id}

    async def still_works(self, key_id: str) -> bool:
        """Whether a key that opened a stream may keep it."""
        if key_id == OPERATOR:
            return True
        key = await self._store.get(ALL, ApiKey, key_id)
        return key is not None and key.works(self._clock.now())


__all__ = ["KeyAuthenticator", "Scope"]
