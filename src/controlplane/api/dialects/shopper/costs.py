"""gpuplane.dialects.shopper.v1.Costs: sums over the ledger of charges."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from gpuplane.dialects.shopper.v1 import costs_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.dialects.shared import rfc3339
from controlplane.api.dialects.shopper.translate import CONSUMER
from controlplane.api.plane import Plane, currency_of, own
from controlplane.domain.billing import HOUR, SECOND
from controlplane.domain.errors import invalid, not_found
from controlplane.domain.instance import Instance
from controlplane.domain.ledger import LedgerKind
from controlplane.domain.money import NANO
from controlplane.domain.principal import Principal
from controlplane.ports.store import UsageQuery, UsageRow

PERIODS = ("daily", "monthly")

Days = tuple[date, date]
"""The first day, and the one before which the range ends."""

_DAY = timedelta(days=1)
_FOR_EVER: Days = (date(1970, 1, 1), date.max)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


class Costs:
    """Reports what the caller's sessions cost."""

    service = "gpuplane.dialects.shopper.v1.Costs"

    def __init__(self, plane: Plane) -> None:
        self._core = plane.core

    async def get_costs(self, request: pb.GetCostsRequest, call: Call) -> pb.Cost:
        today = datetime.fromtimestamp(self._core.clock.now() / SECOND, UTC).date()
        days = days_of(request, today)
        if not request.session_id:
            return await self._summary(call.principal, request.consumer_id, days or _month(today))
        session = await self._core.store.get(own(call.principal), Instance, request.session_id)
        if session is None or request.consumer_id not in ("", session.labels.get(CONSUMER)):
            raise not_found("session", request.session_id)
        if CONSUMER not in session.labels:
            raise not_found("session", request.session_id)
        rows = await self._sums(call.principal, days or _FOR_EVER, instance_id=session.id)
        return pb.Cost(
            session_id=session.id,
            total_cost=_amount(sum(row.amount_nano for row in rows)),
            currency=await currency_of(self._core, call.principal),
        )

    async def get_cost_summary(self, request: pb.GetCostSummaryRequest, call: Call) -> pb.Cost:
        today = datetime.fromtimestamp(self._core.clock.now() / SECOND, UTC).date()
        return await self._summary(call.principal, request.consumer_id, _month(today))

    async def _summary(self, caller: Principal, consumer: str, days: Days) -> pb.Cost:
        by_provider = await self._sums(caller, days, consumer, "provider")
        by_gpu_type = await self._sums(caller, days, consumer, "gpu_type")
        shown = pb.Cost(
            consumer_id=consumer,
            total_cost=_amount(sum(row.amount_nano for row in by_provider)),
            session_count=sum(row.instances for row in await self._sums(caller, days, consumer)),
            hours_used=round(sum(row.machine_us for row in by_provider) / HOUR, 6),
            period_start=rfc3339(_micros(days[0])),
            period_end=rfc3339(_micros(days[1])),
        )
        for shares in (shown.by_provider, shown.by_gpu_type):
            shares.SetInParent()  # `{}` where there is nothing to share out
        shown.by_provider.update({row.group: _amount(row.amount_nano) for row in by_provider})
        shown.by_gpu_type.update({row.group: _amount(row.amount_nano) for row in by_gpu_type})
        return shown

    async def _sums(
        self, caller: Principal, days: Days, consumer: str = "", group: str = "", instance_id: str = ""
    ) -> list[UsageRow]:
        start, end = map(_micros, days)
        label = (CONSUMER, consumer or None)
        query = UsageQuery(LedgerKind.CHARGE, start, end, "", group, instance_id, label)
        return await self._core.store.usage(own(caller), query)


def days_of(request: pb.GetCostsRequest, today: date) -> Days | None:
    """The range that a request names; None without period and dates."""
    if request.period:
        if request.period not in PERIODS:
            raise invalid("period", f"must be one of {', '.join(PERIODS)}", request.period)
        if request.start_date or request.end_date:
            raise invalid("period", "must be absent beside start_date and end_date", request.period)
        return _month(today) if request.period == "monthly" else (today, today + _DAY)
    start, end = _date(request.start_date, "start_date"), _date(request.end_date, "end_date")
    if end is None:
        return None if start is None else (start, _month(start)[1])
    if start is None:
        return _month(end - _DAY)[0], end
    if start > end:
        raise invalid("start_date", "must not lie after end_date", request.start_date)
    return start, end


def _month(day: date) -> Days:
    """The calendar month of a day."""
    first = day.replace(day=1)
    return first, (first + 31 * _DAY).replace(day=1)


def _date(text: str, name: str) -> date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None or not date(1970, 1, 2) <= day < date(9999, 12, 1):
        raise invalid(name, "must be a date such as 2026-01-31", text)
    return day


def _micros(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND


def _amount(nano: int) -> float:
    return nano / NANO
