"""What shopper's sessions cost where something is out of the ordinary: starts that fail, months that end, destroys that
fail. The real adapter and the simulated Vast.ai, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from controlplane.domain.billing import SECOND, cost
from controlplane.domain.ledger import LedgerKind
from controlplane.domain.money import NANO
from controlplane.domain.state import State
from tests.faults.session_stage import SessionStage
from tests.support.fakes import START
from tests.unit.dialects.shopper_desk import Desk

DAY_S = 86_400
MINUTE_S = 60.0
RETRY_S = 90.0
"""What a destroy may come late after a marketplace's bad minute: the pause before another try, its turn, and an answer
that hung."""


def test_a_start_that_fails_costs_nothing() -> None:
    async def scenario(stage: SessionStage) -> None:
        stage.vast.configure({"stuck": 1.0})
        id = await stage.started(reservation_hours=1)
        await stage.until(id, "failed")
        row = await stage.settled(id)
        assert row.state_reason == "START_TIMEOUT"
        await stage.check_bills(id)
        assert (await stage.desk.cost(session_id=id)).total_cost == 0
        assert (await stage.desk.cost()).hours_used == 0
        assert stage.posted(id, LedgerKind.PROVIDER_COST) > 0, "its disk was paid for"

    SessionStage().play(scenario)


def test_a_session_across_the_end_of_a_month_is_split_there() -> None:
    midnight = START + 31 * DAY_S * SECOND

    async def scenario(stage: SessionStage) -> None:
        id = await stage.rented(reservation_hours=1)
        await stage.sleep_until(id, 3600.0, down=False)
        row = await stage.settled(id)
        await stage.check_bills(id)
        assert row.run_at is not None
        assert row.end_at is not None
        assert row.run_at < midnight < row.end_at
        before = cost(row.price_nano_per_hour, row.run_at, midnight)
        whole = cost(row.price_nano_per_hour, row.run_at, row.end_at)
        january = await stage.desk.cost(start_date="2026-01-01", end_date="2026-02-01")
        february = await stage.desk.cost(start_date="2026-02-01")
        assert january.total_cost == before / NANO
        assert february.total_cost == (whole - before) / NANO
        assert january.hours_used == round((midnight - row.run_at) / SECOND / 3600, 6)
        assert february.hours_used == round((row.end_at - midnight) / SECOND / 3600, 6)
        assert (january.session_count, february.session_count) == (1, 1)
        assert (await stage.desk.cost(period="monthly")).total_cost == february.total_cost
        assert (await stage.desk.cost(session_id=id, end_date="2026-02-01")).total_cost == january.total_cost

    SessionStage(began_s=31 * DAY_S - 1800.0).play(scenario)


BAD_MINUTES: dict[str, dict[str, Any]] = {
    "refused": {},
    "outage": {"outage": True},
    "hangs": {"hang_all": True, "hang_s": 600.0},
    "answer lost": {"lost_response": 1.0, "fault_endpoints": ["destroy"]},
}
"""Switches of the simulator; how a call is refused in words has none."""


@pytest.mark.parametrize("how", BAD_MINUTES)
@pytest.mark.parametrize("end", [Desk.destroy, Desk.done])
@pytest.mark.parametrize("killed", [False, True])
def test_a_minute_of_failing_destroys_loses_nothing(
    how: str, end: Callable[[Desk, str], Awaitable[Any]], killed: bool
) -> None:
    async def scenario(stage: SessionStage) -> None:
        id = await stage.rented(reservation_hours=1)
        await asyncio.sleep(45.0)
        good = {name: stage.vast.faults.as_json()[name] for name in BAD_MINUTES[how]}
        stage.vast.configure(BAD_MINUTES[how])
        stage.vast.failing = {"destroy": "simulated destroy failure"} if how == "refused" else {}
        began = stage.loop.virtual
        await end(stage.desk, id)
        assert stage.loop.virtual - began < 0.1, "the answer does not wait for the provider"
        asked_at = stage.row(id).stop_at
        if killed:
            await asyncio.sleep(5.0)
            stage.lives.kill()
            await stage.revive()
        for _ in range(6):
            await asyncio.sleep(MINUTE_S / 6)
            ended = stage.row(id).state is State.TERMINATED
            assert ended is (how == "answer lost"), "which the next look makes good"
            assert (await stage.desk.get(id)).status == ("stopped" if ended else "stopping")
            await stage.desk.destroy(id)  # as often as anybody likes
        stage.vast.configure(good)
        stage.vast.failing = {}
        row = await stage.settled(id)
        assert row.state is State.TERMINATED
        assert len([outcome for outcome in stage.destroys if outcome not in (400, 503)]) == 1, stage.destroys
        assert asked_at is not None
        assert row.end_at is not None
        assert row.end_at - asked_at <= (MINUTE_S + RETRY_S) * SECOND, "until its end is confirmed it is charged"
        await stage.check_bills(id)

    SessionStage().play(scenario)
