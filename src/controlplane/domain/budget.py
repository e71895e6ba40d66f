"""Budgets: a limit per period, what is spent in it, and what is held for machines that run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from controlplane.domain.billing import SECOND
from controlplane.domain.errors import ResourceExhausted
from controlplane.domain.money import text

THRESHOLDS = (50, 80, 100)


class Period(StrEnum):
    """How often a budget starts from zero; periods begin at UTC boundaries."""

    TOTAL = "TOTAL"
    HOUR = "HOUR"
    DAY = "DAY"
    MONTH = "MONTH"


def period_start(period: Period, now: int) -> int:
    """The first instant of the period that holds `now`; 0 for TOTAL."""
    if period is Period.TOTAL:
        return 0
    at = datetime.fromtimestamp(now / SECOND, UTC).replace(minute=0, second=0, microsecond=0)
    if period is Period.DAY:
        at = at.replace(hour=0)
    elif period is Period.MONTH:
        at = at.replace(hour=0, day=1)
    return int(at.timestamp()) * SECOND


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on what an account may spend. Amounts are nano-units of the account's currency."""

    id: str
    account_id: str
    name: str
    limit_nano: int
    currency: str
    period: Period
    period_start_at: int
    created_at: int
    spent_nano: int = 0
    held_nano: int = 0
    crossed_percent: int = 0

    def rolled(self, now: int) -> Budget:
        """The budget as of `now`: spent starts from zero in a new period, holds stay."""
        start = period_start(self.period, now)
        if start <= self.period_start_at:
            return self
        return replace(self, period_start_at=start, spent_nano=0, crossed_percent=0)

    def fits(self, more_nano: int) -> bool:
        """Whether that much more could be held."""
        return self.spent_nano + self.held_nano + more_nano <= self.limit_nano

    def held(self, more_nano: int) -> Budget:
        """With that much more held (negative: released)."""
        return replace(self, held_nano=max(0, self.held_nano + more_nano))

    def spend(self, nano: int) -> Budget:
        """With that much more spent."""
        return replace(self, spent_nano=self.spent_nano + nano)

    def crossing(self, *, exhausted: bool = False) -> Budget:
        """With `crossed_percent` brought up to date; exhaustion counts as 100."""
        percent = 100 if exhausted else self.spent_nano * 100 // self.limit_nano if self.limit_nano else 100
        reached = max((t for t in THRESHOLDS if percent >= t), default=0)
        return replace(self, crossed_percent=max(reached, self.crossed_percent))

    def refuse(self, wanted_nano: int) -> ResourceExhausted:
        """The refusal of a hold that does not fit."""
        left = self.limit_nano - self.spent_nano - self.held_nano
        return ResourceExhausted(
            f"budget {self.name!r} cannot hold {text(wanted_nano, self.currency)}: "
            f"{text(max(0, left), self.currency)} of {text(self.limit_nano, self.currency)} are left",
            reason="BUDGET_EXHAUSTED",
            budget_id=self.id,
            limit=self.limit_nano,
            spent=self.spent_nano,
            held=self.held_nano,
            wanted=wanted_nano,
        )
