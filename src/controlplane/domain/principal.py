"""Who is calling, and how far that carries."""

from __future__ import annotations

from dataclasses import dataclass

SCOPES = (
    "instances:read",
    "instances:write",
    "offers:read",
    "keys:read",
    "keys:write",
    "usage:read",
    "budgets:read",
    "budgets:write",
    "webhooks:read",
    "webhooks:write",
    "providers:read",
    "providers:write",
    "inference:read",
    "inference:write",
)

CANONICAL_DIALECT = "gpuplane"

OPERATOR = "operator"  # the account id that an operator key acts for


@dataclass(frozen=True, slots=True)
class Scope:
    """The limit of every store read: one account, or the operator's view of all. There is no unscoped read."""

    account_id: str | None

    @property
    def is_operator(self) -> bool:
        """True for the view across accounts."""
        return self.account_id is None

    def sees(self, account_id: str) -> bool:
        """Whether a row of that account may be shown."""
        return self.account_id is None or self.account_id == account_id


ALL = Scope(None)


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller."""

    account_id: str
    key_id: str
    scopes: frozenset[str]
    operator: bool = False
    dialect: str = CANONICAL_DIALECT  # the only one that the key opens

    @property
    def scope(self) -> Scope:
        """What the caller may read."""
        return ALL if self.operator else Scope(self.account_id)
