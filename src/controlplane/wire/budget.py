"""Budget between the domain and the canonical API."""

from __future__ import annotations

from gpuplane.v1 import budget_service_pb2 as pb

from controlplane.domain.budget import Budget, Period
from controlplane.wire.common import money, number, timestamp

_PERIODS = {period: number(pb.BudgetPeriod, "BUDGET_PERIOD", period) for period in Period}
PERIODS_BACK = {pb.BUDGET_PERIOD_UNSPECIFIED: Period.TOTAL} | {value: p for p, value in _PERIODS.items()}


def budget_message(row: Budget) -> pb.Budget:
    """The canonical message of a row."""
    return pb.Budget(
        id=row.id,
        name=row.name,
        limit=money(row.limit_nano, row.currency),
        period=_PERIODS[row.period],
        spent=money(row.spent_nano, row.currency),
        held=money(row.held_nano, row.currency),
        period_start_time=timestamp(row.period_start_at),
        create_time=timestamp(row.created_at),
        crossed_percent=row.crossed_percent,
    )
