"""What the shopper says that sessions cost: the sums of the ledger, by days and months of UTC."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from gpuplane.dialects.shopper.v1 import costs_pb2 as pb

from controlplane.api.dialects.shopper.costs import Costs, days_of
from controlplane.api.dialects.shopper.translate import CONSUMER
from controlplane.domain.billing import HOUR, SECOND
from controlplane.domain.errors import InvalidArgument, NotFound
from controlplane.domain.ledger import LedgerEntry, LedgerKind
from tests.support.fakes import START, instance
from tests.unit.dialects.shopper_plane import ACCOUNT, FakeCall, World

DAY = 24 * HOUR
CENT = 10**7


def entry(id: str, instance_id: str, start: int, seconds: int, nano: int, **changes: Any) -> LedgerEntry:
    fields: dict[str, Any] = {
        "id": id, "kind": LedgerKind.CHARGE, "account_id": ACCOUNT, "instance_id": instance_id, "attempt": 1,
        "start_at": start, "end_at": start + seconds * SECOND, "amount_nano": nano, "currency": "USD",
        "provider": "vastai", "gpu_type": "RTX 4090", "gpu_count": 1, "posted_at": start,
    } | changes  # fmt: skip
    return LedgerEntry(**fields)


@pytest.fixture
async def world() -> World:
    """It is the middle of 2026-01-01. One consumer has two sessions, another one, and one instance is no session."""
    made = World()
    await made.put(
        instance("inst_1", ACCOUNT, labels={CONSUMER: "app"}),
        instance("inst_2", ACCOUNT, labels={CONSUMER: "app"}),
        instance("inst_3", ACCOUNT, labels={CONSUMER: "other"}),
        instance("inst_4", ACCOUNT),
        instance("inst_5", "acct_b", labels={CONSUMER: "app"}),
        entry("led_1", "inst_1", START, 3600, 45 * CENT),
        entry("led_2", "inst_1", START - HOUR, 3600, 90 * CENT),  # the last hour of December
        entry("led_3", "inst_2", START, 1800, 100 * CENT, provider="tensordock", gpu_type="A100"),
        entry("led_4", "inst_3", START + HOUR, 1, 1),
        entry("led_5", "inst_4", START, 3600, 7 * CENT),
        entry("led_6", "inst_5", START, 3600, 7 * CENT, account_id="acct_b"),
        entry("led_7", "inst_1", START, 3600, 7 * CENT, kind=LedgerKind.PROVIDER_COST),
        entry("led_8", "inst_2", START + 31 * DAY, 3600, 300 * CENT),  # the first hour of February
    )
    made.clock.advance(12 * 3600)
    return made


async def asked(world: World, **query: str) -> dict[str, Any]:
    answer = await Costs(world.plane).get_costs(pb.GetCostsRequest(**query), FakeCall())
    return MessageToDict(answer, preserving_proto_field_name=True)


async def test_the_cost_of_a_session_is_all_that_was_charged_for_it(world: World) -> None:
    assert await asked(world, session_id="inst_1") == {
        "session_id": "inst_1", "total_cost": 1.35, "currency": "USD",
    }  # fmt: skip
    assert (await asked(world, session_id="inst_1", start_date="2026-01-01"))["total_cost"] == 0.45
    assert (await asked(world, session_id="inst_1", consumer_id="app"))["total_cost"] == 1.35


async def test_a_summary_is_of_the_current_month_unless_told_otherwise(world: World) -> None:
    shown = {
        "consumer_id": "app", "total_cost": 1.45, "session_count": 2, "hours_used": 1.5,
        "by_provider": {"vastai": 0.45, "tensordock": 1.0}, "by_gpu_type": {"RTX 4090": 0.45, "A100": 1.0},
        "period_start": "2026-01-01T00:00:00Z", "period_end": "2026-02-01T00:00:00Z",
    }  # fmt: skip
    assert await asked(world, consumer_id="app") == shown
    assert await asked(world, consumer_id="app", period="monthly") == shown
    summary = await Costs(world.plane).get_cost_summary(pb.GetCostSummaryRequest(consumer_id="app"), FakeCall())
    assert MessageToDict(summary, preserving_proto_field_name=True) == shown


async def test_without_a_consumer_all_sessions_count_and_only_they(world: World) -> None:
    shown = await asked(world)
    assert (shown["total_cost"], shown["session_count"], shown["consumer_id"]) == (1.450000001, 3, "")
    assert shown["hours_used"] == round(1.5 + 1 / 3600, 6)


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ({"period": "daily"}, 1.45),
        ({"start_date": "2025-12-31", "end_date": "2026-01-01"}, 0.9),
        ({"start_date": "2025-12-01"}, 0.9),
        ({"end_date": "2026-01-01"}, 0.9),
        ({"end_date": "2026-01-02"}, 1.45),
        ({"start_date": "2025-12-31", "end_date": "2026-02-02"}, 5.35),
        ({"start_date": "2026-01-31", "end_date": "2026-02-01"}, 0.0),
    ],
)
async def test_days_end_at_midnight_utc_and_the_last_one_is_left_out(
    world: World, query: dict[str, str], total: float
) -> None:
    assert (await asked(world, consumer_id="app", **query)).get("total_cost", 0.0) == total


async def test_a_consumer_without_sessions_costs_nothing(world: World) -> None:
    shown = await asked(world, consumer_id="nobody")
    assert (shown["by_provider"], shown["by_gpu_type"], shown.get("total_cost", 0)) == ({}, {}, 0)


@pytest.mark.parametrize(
    "query",
    [
        {"session_id": "nope"},
        {"session_id": "inst_4"},
        {"session_id": "inst_5"},
        {"session_id": "inst_1", "consumer_id": "other"},
    ],
)
async def test_what_is_no_session_of_the_caller_is_not_found(world: World, query: dict[str, str]) -> None:
    with pytest.raises(NotFound):
        await asked(world, **query)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"period": "weekly"}, "period must be one of daily, monthly; got 'weekly'"),
        (
            {"period": "daily", "start_date": "2026-01-01"},
            "period must be absent beside start_date and end_date; got 'daily'",
        ),
        ({"start_date": "2026-1-1"}, "start_date must be a date such as 2026-01-31; got '2026-1-1'"),
        ({"start_date": "2026-02-30"}, "start_date must be a date such as 2026-01-31; got '2026-02-30'"),
        ({"end_date": "20260101"}, "end_date must be a date such as 2026-01-31; got '20260101'"),
        ({"end_date": "9999-12-31"}, "end_date must be a date such as 2026-01-31; got '9999-12-31'"),
        ({"end_date": "0001-01-01"}, "end_date must be a date such as 2026-01-31; got '0001-01-01'"),
        (
            {"start_date": "2026-02-01", "end_date": "2026-01-31"},
            "start_date must not lie after end_date; got '2026-02-01'",
        ),
    ],
)
async def test_bad_dates_are_refused(world: World, query: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await asked(world, **query)
    assert refused.value.message == sentence


@pytest.mark.parametrize(
    ("day", "month"),
    [
        ("2026-12-31", (date(2026, 12, 1), date(2027, 1, 1))),
        ("2028-02-29", (date(2028, 2, 1), date(2028, 3, 1))),
        ("2026-01-01", (date(2026, 1, 1), date(2026, 2, 1))),
    ],
)
def test_months_of_every_length(day: str, month: tuple[date, date]) -> None:
    assert days_of(pb.GetCostsRequest(period="monthly"), date.fromisoformat(day)) == month
