"""Two append-only ledgers: what the account is charged, and what the provider costs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LedgerKind(StrEnum):
    """Which ledger an entry belongs to."""

    CHARGE = "CHARGE"
    PROVIDER_COST = "PROVIDER_COST"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One posted amount for the half-open time [start_at, end_at). Entries of one instance (and attempt, for
    PROVIDER_COST) tile its time without gap or overlap."""

    id: str
    kind: LedgerKind
    account_id: str
    instance_id: str
    attempt: int
    start_at: int
    end_at: int
    amount_nano: int
    currency: str
    provider: str
    gpu_type: str
    gpu_count: int
    posted_at: int
    description: str = ""
    storage: bool = False  # for a machine at rest whose disk is kept: it counts as money, not as machine time

    @property
    def machine_us(self) -> int:
        """For how long a machine was at the account's disposal, in microseconds."""
        return 0 if self.storage else self.end_at - self.start_at
