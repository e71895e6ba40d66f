"""The tenant and what opens its doors: accounts, API keys, SSH keys, idempotency records."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

from controlplane.domain.errors import Aborted

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


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
    """A credential; only the SHA-256 of its secret is kept (the secret has 178 bits, so no slow hash is needed)."""

    id: str
    account_id: str
    name: str
    prefix: str
    secret_sha256: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None

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

    def check(self, fingerprint: str, request_id: str) -> None:
        """Raise Aborted when the id was used with another body."""
        if fingerprint != self.fingerprint:
            raise Aborted(f"request_id {request_id!r} was used before with a different request", request_id=request_id)


def idempotency_id(account_id: str, method: str, request_id: str) -> str:
    """The primary key of the record."""
    return hashlib.sha256(f"{account_id}\0{method}\0{request_id}".encode()).hexdigest()


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, rest = divmod(number, 62)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits))


def mint_secret(prefix: str, entropy: bytes) -> str:
    """An API key: prefix, 30 base62 characters of entropy, 6 of checksum (a typo is told without a look-up)."""
    body = _base62(int.from_bytes(entropy, "big"), 30)
    return f"{prefix}{body}{_base62(zlib.crc32((prefix + body).encode()), 6)}"


def well_formed_secret(secret: str, prefix: str) -> bool:
    """Prefix, length and checksum hold."""
    body, check = secret[len(prefix) : -6], secret[-6:]
    return (
        secret.startswith(prefix)
        and len(body) == 30
        and secret.isascii()
        and check == _base62(zlib.crc32((prefix + body).encode()), 6)
    )


def hash_secret(secret: str) -> str:
    """What is stored and looked up instead of the secret."""
    return hashlib.sha256(secret.encode()).hexdigest()
