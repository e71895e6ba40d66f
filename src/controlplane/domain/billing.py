"""Billing is pure arithmetic over intervals: no clock, no store.

An amount is always cumulative (from the beginning to `until`), and a ledger entry is the difference to what was
posted before; so rounding never drifts and the sum of all entries equals the formula applied once to the whole life.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

SECOND = 1_000_000
HOUR = 3600 * SECOND


class BillingKind(StrEnum):
    """The arithmetic of a policy."""

    PER_SECOND = "PER_SECOND"
    PREPAID = "PREPAID"


@dataclass(frozen=True, slots=True)
class BillingPolicy:
    """How an account is charged for an instance; chosen at creation. `prepaid_s` is the reservation of PREPAID."""

    kind: BillingKind = BillingKind.PER_SECOND
    minimum_s: int = 0
    prepaid_s: int = 0


def cost(price_nano_per_hour: int, start: int, until: int) -> int:
    """Price times time in nano-units, rounded up to the next nano-unit. Times are microseconds."""
    return -(-price_nano_per_hour * max(0, until - start) // HOUR)


def charge(policy: BillingPolicy, price_nano_per_hour: int, run_at: int | None, until: int) -> int:
    """The cumulative charge of an instance that began to run at `run_at`; 0 for one that never ran."""
    if run_at is None:
        return 0
    least_s = max(policy.minimum_s, policy.prepaid_s if policy.kind is BillingKind.PREPAID else 0)
    return cost(price_nano_per_hour, run_at, max(until, run_at + least_s * SECOND))
