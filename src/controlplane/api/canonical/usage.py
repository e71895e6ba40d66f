"""gpuplane.v1.Usage."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gpuplane.v1 import usage_service_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.canonical.shapes import Plane, currency_of, own
from controlplane.domain.billing import HOUR, SECOND
from controlplane.domain.errors import invalid
from controlplane.domain.ledger import LedgerEntry, LedgerKind
from controlplane.domain.principal import Principal
from controlplane.ports.store import UsageQuery
from controlplane.usecases.pages import page_size, read_page
from controlplane.usecases.usage import UsageAsk, UsageRange, usage_page
from controlplane.wire.common import micros, money, timestamp
from controlplane.wire.usage import ledger_message

_BUCKETS = {
    pb.USAGE_BUCKET_SIZE_UNSPECIFIED: "day",
    pb.USAGE_BUCKET_SIZE_HOUR: "hour",
    pb.USAGE_BUCKET_SIZE_DAY: "day",
    pb.USAGE_BUCKET_SIZE_WEEK: "week",
    pb.USAGE_BUCKET_SIZE_MONTH: "month",
}
_GROUPS = {
    pb.USAGE_GROUP_UNSPECIFIED: "",
    pb.USAGE_GROUP_INSTANCE: "instance_id",
    pb.USAGE_GROUP_GPU_TYPE: "gpu_type",
    pb.USAGE_GROUP_PROVIDER: "provider",
}


class Usage:
    """Reports what was used and what it costs: the caller's own account, also for an operator."""

    service = "gpuplane.v1.Usage"

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._core = plane.core

    async def query_usage(self, request: pb.QueryUsageRequest, call: Call) -> pb.QueryUsageResponse:
        if request.bucket not in _BUCKETS:
            raise invalid("bucket", "must be HOUR, DAY, WEEK or MONTH", request.bucket)
        if request.group_by not in _GROUPS:
            raise invalid("group_by", "must be INSTANCE, GPU_TYPE or PROVIDER", request.group_by)
        caller = call.principal
        ask = UsageAsk(_range(request), _BUCKETS[request.bucket], _GROUPS[request.group_by])
        size = page_size(request.page_size)
        shown, next_token = await usage_page(self._core, self._plane.tokens, own(caller), ask, size, request.page_token)
        currency = await currency_of(self._core, caller)
        return pb.QueryUsageResponse(
            buckets=[
                pb.UsageBucket(
                    start_time=timestamp(row.bucket_at),
                    group=row.group,
                    gpu_seconds=row.gpu_us / SECOND,
                    cost=money(row.amount_nano, currency),
                )
                for row in shown
            ],
            next_page_token=next_token,
        )

    async def get_cost_summary(self, request: pb.GetCostSummaryRequest, call: Call) -> pb.CostSummary:
        caller = call.principal
        start, end = _range(request).within(self._core.clock.now(), _month_start)
        currency = await currency_of(self._core, caller)
        (total,) = await self._sums(caller, start, end, "", request.instance_id) or [None]
        summary = pb.CostSummary(total=money(total.amount_nano if total else 0, currency))
        if total is not None:
            summary.instance_count = total.instances
            summary.hours = total.machine_us / HOUR
        for group, shares in (("provider", summary.by_provider), ("gpu_type", summary.by_gpu_type)):
            rows = await self._sums(caller, start, end, group, request.instance_id)
            for row in sorted(rows, key=lambda row: (-row.amount_nano, row.group)):
                shares.add(key=row.group, cost=money(row.amount_nano, currency))
        return summary

    async def _sums(self, caller: Principal, start: int, end: int, group: str, instance_id: str) -> list[Any]:
        query = UsageQuery(LedgerKind.CHARGE, start, end, "", group, instance_id)
        return list(await self._core.store.usage(own(caller), query))

    async def list_ledger_entries(
        self, request: pb.ListLedgerEntriesRequest, call: Call
    ) -> pb.ListLedgerEntriesResponse:
        caller = call.principal
        where: dict[str, object] = {"account_id": caller.account_id, "kind": LedgerKind.CHARGE}
        if request.instance_id:
            where["instance_id"] = request.instance_id

        async def fetch(before_id: str, limit: int) -> list[tuple[str, LedgerEntry]]:
            rows = await self._core.store.select(own(caller), LedgerEntry, where, before_id, limit)
            return [(row.id, row) for row in rows]

        key = ("ledger", caller.account_id, request.instance_id)
        page = await read_page(self._plane.tokens, key, request.page_size, request.page_token, None, fetch)
        return pb.ListLedgerEntriesResponse(
            entries=map(ledger_message, page.items), next_page_token=page.next_page_token
        )


def _range(request: Any) -> UsageRange:
    return UsageRange(
        micros(request.start_time) if request.HasField("start_time") else None,
        micros(request.end_time) if request.HasField("end_time") else None,
    )


def _month_start(end: int) -> int:
    """The first instant of the calendar month of the last instant before `end`."""
    last = datetime.fromtimestamp(max(0, end - 1) / SECOND, UTC)
    return int(last.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()) * SECOND
