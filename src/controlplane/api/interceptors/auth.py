"""Who is calling, and whether the key carries as far as the method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from controlplane.api.scopes import OPERATOR
from controlplane.domain.errors import PermissionDenied, Unauthenticated
from controlplane.domain.principal import Principal

# The caller of public methods. Its account is no account: a scoped read finds nothing.
ANONYMOUS = Principal(account_id="", key_id="", scopes=frozenset())


class Authenticator(Protocol):
    """Turns the secret part of a key into its principal."""

    def cached(self, token: str, dialect: str) -> Principal | None:
        """The principal if it is known and fresh, without waiting; None asks for `authenticate`.

        Runs on every call: no hashing beyond one SHA-256, no I/O. Must forget a revoked key within a second.
        """
        ...

    async def authenticate(self, token: str, dialect: str) -> Principal:
        """The principal, looked up. Raises Unauthenticated, for a key of another dialect too; a malformed token must
        not reach the store."""
        ...


def bearer(metadata: Mapping[str, str | bytes]) -> str:
    """The token of the `authorization` metadata. Raises Unauthenticated without one."""
    header = metadata.get("authorization")
    if not header:
        raise Unauthenticated("no key was sent; send `authorization: Bearer <key>`", reason="KEY_MISSING")
    if type(header) is str and header[:7].lower() == "bearer ":
        return header[7:].strip()
    raise Unauthenticated("the authorization is not `Bearer <key>`")


def require(principal: Principal, scope: str) -> None:
    """Refuse a principal that lacks the scope. An operator has every scope."""
    if principal.operator or scope in principal.scopes:
        return
    if scope == OPERATOR:
        raise PermissionDenied("only an operator may do this", reason="OPERATOR_ONLY")
    raise PermissionDenied(f"the key lacks the scope {scope}", scope=scope)
