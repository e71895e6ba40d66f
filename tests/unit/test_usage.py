"""The range of a usage query: refusals quote times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from controlplane.domain.errors import InvalidArgument
from controlplane.domain.principal import Scope
from controlplane.usecases.usage import UsageAsk, UsageRange, usage_page
from tests.support.fakes import FakeClock

SECOND = 1_000_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


NOW = at("2026-11-22T04:00:00")


@pytest.mark.parametrize(
    ("start", "end", "field", "said"),
    [
        (at("2027-01-01"), None, "start", "start must not lie in the future; got '2027-01-01T00:00:00Z'"),
        (at("2026-05-02"), at("2026-05-01"), "start", "start must not lie after end; got '2026-05-02T00:00:00Z'"),
        (NOW + 1, NOW, "start", "start must not lie after end; got '2026-11-22T04:00:00.000001Z'"),
        (-SECOND, None, "start", "start must not lie before 1970; got '1969-12-31T23:59:59Z'"),
        (None, -SECOND, "end", "end must not lie before 1970; got '1969-12-31T23:59:59Z'"),
        (
            0, at("9999-12-31") + 86_400 * SECOND, "end",
            "end must lie before the year 10000; got '253402300800 s after 1970'",
        ),
        (10**30, None, "start", f"start must not lie in the future; got '{10**24} s after 1970'"),
        (-(10**30), NOW, "start", f"start must not lie before 1970; got '{10**24} s before 1970'"),
    ],
)  # fmt: skip
def test_ranges_that_are_none(start: int | None, end: int | None, field: str, said: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        UsageRange(start, end, ("start", "end")).within(NOW, lambda end: end - SECOND)
    assert (refused.value.metadata["field"], refused.value.message) == (field, said)


def test_ranges() -> None:
    assert UsageRange().within(NOW, lambda end: end - SECOND) == (NOW - SECOND, NOW)
    assert UsageRange(0, 0).within(NOW, lambda end: end) == (0, 0)
    assert UsageRange(None, 5).within(NOW, lambda end: end - SECOND) == (0, 5)


@pytest.mark.parametrize(("end", "said"), [(at("2026-01-01"), "before end_time"), (None, "before now")])
async def test_too_many_buckets(end: int | None, said: str) -> None:
    core: Any = SimpleNamespace(clock=FakeClock())
    ask = UsageAsk(UsageRange(at("2020-01-01"), end), "hour")
    with pytest.raises(InvalidArgument) as refused:
        await usage_page(core, None, Scope("acct"), ask, 50, "")  # type: ignore[arg-type]
    assert refused.value.message == (
        f"start_time must leave at most 10000 buckets of one hour {said}; got '2020-01-01T00:00:00Z'"
    )
