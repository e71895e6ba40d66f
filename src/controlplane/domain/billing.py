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
    """How an account is charged for an instance; chosen at creation. `prepaid_s` is the reservation of PREPAID, and
    `prepaid_percent` what it costs of the list price; time beyond it costs the list price."""

    kind: BillingKind = BillingKind.PER_SECOND
    minimum_s: int = 0
    prepaid_s: int = 0
    prepaid_percent: float = 100.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A machine that is stopped while its disk is kept: since when (microseconds), and what that costs by the hour."""

    at: int
    nano_per_hour: int


def cost(price_nano_per_hour: int, start: int, until: int) -> int:
    """Price times time in nano-units, rounded up to the next nano-unit. Times are microseconds."""
    return -(-price_nano_per_hour * max(0, until - start) // HOUR)


def charge(
    policy: BillingPolicy, price_nano_per_hour: int, run_at: int | None, until: int, kept: Kept | None = None
) -> int:
    """The cumulative charge of an instance that began to run at `run_at`; 0 for one that never ran."""
    if run_at is None:
        return 0
    if kept is not None and until > kept.at:
        return charge(policy, price_nano_per_hour, run_at, kept.at) + cost(kept.nano_per_hour, kept.at, until)
    prepaid_until = run_at + (policy.prepaid_s * SECOND if policy.kind is BillingKind.PREPAID else 0)
    prepaid = reservation(policy, price_nano_per_hour)
    return prepaid + cost(price_nano_per_hour, prepaid_until, max(until, run_at + policy.minimum_s * SECOND))


def first_hold(policy: BillingPolicy, price_nano_per_hour: int, window_s: float) -> int:
    """What budgets hold before a machine is asked for: the first window, the minimum or the prepaid reservation."""
    window = cost(price_nano_per_hour, 0, int(max(window_s, policy.minimum_s) * SECOND))
    return max(window, reservation(policy, price_nano_per_hour))


def reservation(policy: BillingPolicy, price_nano_per_hour: int) -> int:
    """What the prepaid part costs; 0 without one."""
    if policy.kind is not BillingKind.PREPAID:
        return 0
    whole = cost(price_nano_per_hour, 0, policy.prepaid_s * SECOND)
    return -(-whole * round(policy.prepaid_percent * 1000) // 100_000)
