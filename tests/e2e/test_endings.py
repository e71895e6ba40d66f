"""Each thing that ends a machine by itself, ending a real one: a budget, idleness, the reservation, the hard maximum.

Their shortest times are a minute, by the API's own rules, so all but the budget run in `make campaign`; together, on
one plane. The rules themselves are tested in virtual time (tests/unit/test_reconcile.py).
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.type.money_pb2 import Money

from tests.support.plane import Plane, pb, running_plane


def until_ended(plane: Plane, id: str, within_s: float) -> Any:
    """The instance once its machine is gone."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        row = plane.me.instances.GetInstance(pb.GetInstanceRequest(id=id))
        if row.HasField("gone_time"):
            return row
        time.sleep(0.2)
    raise AssertionError(f"{id} did not end within {within_s} s")


def test_an_exhausted_budget_ends_a_machine() -> None:
    # Half a second of metering and one second of hold; the dearest offer costs about a cent every three seconds.
    with running_plane(local_simulated=True, meter_interval=0.5, hold_window=1, stop_grace=1) as plane:
        offers = plane.me.offers.ListOffers(
            pb.ListOffersRequest(order_by="price_per_hour desc", page_size=1, requirements=pb.Requirements())
        ).offers
        limit = Money(currency_code="USD", nanos=40_000_000)
        budget = plane.me.budgets.CreateBudget(pb.CreateBudgetRequest(name="small", limit=limit))
        with plane.me.watch(plane.me.instances.WatchInstances, pb.WatchInstancesRequest()) as watch:
            row = plane.rent(offer_id=offers[0].id)
            ended = until_ended(plane, row.id, 40)
            assert ended.state_reason == "BUDGET_EXHAUSTED"
            seen = [e.budget_alert.threshold_percent for e in watch.seen if e.HasField("budget_alert")]
            watch.until(lambda e: e.instance.state == pb.INSTANCE_STATE_TERMINATED)
            seen = [e.budget_alert.threshold_percent for e in watch.seen if e.HasField("budget_alert")]
        assert seen == [50, 80, 100]
        after = plane.me.budgets.GetBudget(pb.GetBudgetRequest(id=budget.id))
        charged = plane.me.usage.GetCostSummary(pb.GetCostSummaryRequest(instance_id=row.id)).total
        assert (after.spent, after.held.nanos) == (charged, 0)
        assert 0 < after.spent.nanos <= limit.nanos


@pytest.mark.slow
def test_leases_and_idleness_end_machines() -> None:
    minute = Duration(seconds=60)
    with running_plane(stop_grace=1) as plane:
        rented = {
            "IDLE": plane.rent(idle_timeout=minute),
            "LEASE_EXPIRED": plane.rent(reservation=minute),
            "MAX_DURATION": plane.rent(max_duration=minute),
        }
        for reason, row in rented.items():
            ended = until_ended(plane, row.id, 90)
            assert ended.state_reason == reason
            assert ended.state == pb.INSTANCE_STATE_TERMINATED
            lived = ended.end_time.seconds - row.create_time.seconds
            assert 60 <= lived <= 85
        plane.stop()
        assert plane.leftovers() == []
