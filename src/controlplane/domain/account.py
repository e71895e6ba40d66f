"""The tenant and what opens its doors: accounts, API keys, SSH keys, idempotency records."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from controlplane.domain.errors import Aborted
from controlplane.domain.principal import CANONICAL_DIALECT


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant. `currency` is the one it is billed in."""

    id: str
    name: str
    currency: str
    max_instances: int
    created_at: int
    closed_at: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A credential; only the SHA-256 of its secret is kept (over 100 bits of it are random: no slow hash is needed)."""

    id: str
    account_id: str
    name: str
    prefix: str
    secret_sha256: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    dialect: str = CANONICAL_DIALECT  # the one it opens

    def works(self, now: int) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class SshKey:
    """A public key that can be installed on machines."""

    id: str
    account_id: str
    name: str
    public_key: str
    fingerprint: str
    created_at: int


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """What a request id was used for. `fingerprint` tells a repeat from a different request."""

    id: str
    account_id: str
    fingerprint: str
    result_id: str
    created_at: int
    sealed: str = ""  # a secret that may be repeated for a short while, encrypted
    answer: str = ""  # the first answer, encrypted, where a dialect promises to repeat it

    def check(self, fingerprint: str, request_id: str) -> None:
        """Raise Aborted when the id was used with another body."""
        if fingerprint != self.fingerprint:
            raise Aborted(f"request_id {request_id!r} was used before with a different request", request_id=request_id)


def idempotency_id(account_id: str, method: str, request_id: str) -> str:
    """The primary key of the record."""
    return hashlib.sha256(f"{account_id}\0{method}\0{request_id}".encode()).hexdigest()


def hash_secret(secret: str) -> str:
    """What is stored and looked up instead of the secret."""
    return hashlib.sha256(secret.encode()).hexdigest()
