"""gpuplane.dialects.gpuai.v1.Usage."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from gpuplane.dialects.gpuai.v1 import usage_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.dialects.gpuai.hardware import gpu_word
from controlplane.api.dialects.gpuai.translate import limit_of, next_cursor
from controlplane.api.dialects.shared import rfc3339
from controlplane.api.plane import Plane, own
from controlplane.domain.billing import SECOND
from controlplane.domain.errors import invalid
from controlplane.domain.money import NANO
from controlplane.ports.store import UsageRow
from controlplane.usecases.usage import BUCKETS, UsageAsk, UsageRange, usage_page

_CENT = NANO // 100
_GROUPS = ("instance_id", "gpu_type")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# `+0000` in a query is ` 0000` to those who decode it, and few clients escape the plus.
_LOST_PLUS = re.compile(r"(T.*) (\d\d:?\d\d)$")


class Usage:
    """Reports what was used and what it costs."""

    service = "gpuplane.dialects.gpuai.v1.Usage"

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def list_usage(self, request: pb.ListUsageRequest, call: Call) -> pb.UsagePage:
        size = limit_of(request.limit if request.HasField("limit") else None)
        bucket, group = request.bucket or "day", request.group_by
        if bucket not in BUCKETS:
            raise invalid("bucket", f"must be among {', '.join(BUCKETS)}", bucket)
        if group not in ("", *_GROUPS):
            raise invalid("group_by", f"must be among {', '.join(_GROUPS)}", group)
        asked = UsageRange(time_of(request.start, "start"), time_of(request.end, "end"), ("start", "end"))
        rows, token = await usage_page(
            self._plane.core, self._plane.tokens, own(call.principal), UsageAsk(asked, bucket, group), size,
            request.cursor,
        )  # fmt: skip
        return pb.UsagePage(data=[_shown(row, group) for row in rows], next_cursor=next_cursor(token))


def _shown(row: UsageRow, group: str) -> pb.UsageBucket:
    shown = pb.UsageBucket(
        bucket_start=rfc3339(row.bucket_at),
        gpu_seconds=_nearest(row.gpu_us, SECOND),
        cost_cents=_nearest(row.amount_nano, _CENT),
    )
    if group == "instance_id":
        shown.instance_id = row.group
    elif group == "gpu_type":
        shown.gpu_type = gpu_word(row.group)
    return shown


def _nearest(amount: int, unit: int) -> int:
    """Whole units, halves rounded up."""
    return (amount + unit // 2) // unit


def time_of(text: str, field: str) -> int | None:
    """Microseconds since the epoch of an RFC 3339 time; None without one.

    Read leniently, as generated clients write it: `2026-05-08T17:00:00.000000+0000`, or without a zone, which is UTC.
    """
    if not text:
        return None
    try:
        at = datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", text))
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        micros = (at - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise invalid(field, "must be a time such as 2026-05-08T17:00:00Z", text) from None
    return max(0, micros)  # nothing was used before 1970
