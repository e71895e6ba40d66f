"""Identical creates at the same moment, through the real Envoy: one session, and a conflict for all others."""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from controlplane.api.dialects.shopper import SHOPPER
from tests.dialects.conftest import ways
from tests.dialects.runner import Reply, Way
from tests.support.plane import Plane

AT_ONCE = 10
JSON = {"Content-Type": "application/json"}


def race(way: Way) -> None:
    """One round; what it made is destroyed."""
    consumer, together = f"race-{uuid.uuid4().hex}", threading.Barrier(AT_ONCE)
    asked = {
        "consumer_id": consumer, "offer_id": "local-l40s-1x-na-on-demand", "workload_type": "batch",
        "reservation_hours": 1,
    }  # fmt: skip

    def create(_: int) -> Reply:
        together.wait()
        return way.call("POST", "/api/v1/sessions", JSON, json.dumps(asked).encode())

    with ThreadPoolExecutor(AT_ONCE) as pool:
        replies = list(pool.map(create, range(AT_ONCE)))
    assert Counter(reply.status for reply in replies) == {201: 1, 409: AT_ONCE - 1}, replies
    listed = way.call("GET", f"/api/v1/sessions?consumer_id={consumer}", {}, None).body
    assert listed["count"] == 1
    assert way.call("DELETE", f"/api/v1/sessions/{listed['sessions'][0]['id']}", {}, None).status == 200


@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.slow)])
def test_one_of_ten_identical_creates_makes_the_session(plane: Plane, rounds: int) -> None:
    way = ways(plane, SHOPPER)[0]
    for _ in range(rounds):
        race(way)
