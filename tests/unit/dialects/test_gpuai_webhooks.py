"""GPU.ai: which events are told, and how."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from gpuplane.v1 import watch_pb2

from controlplane.api.dialects.gpuai.webhooks import WEBHOOKS
from controlplane.dialect import WebhookDelivery
from controlplane.domain.state import State
from controlplane.wire.instance import state_number
from tests.unit.dialects.test_gpuai_errors import DOCUMENT
from tests.unit.dialects.test_gpuai_words import canonical


def render(state: State, previous: State | None, **fields: Any) -> Any:
    event = watch_pb2.InstanceEvent(event_id="evt_1", instance=canonical(state, **fields))
    if previous is not None:
        event.previous_state = state_number(previous)
    return WEBHOOKS.render("evt_1", 1_500_000, event.SerializeToString())


@pytest.mark.parametrize(
    ("state", "previous", "told"),
    [
        (State.ACCEPTED, None, "instance.creating"),
        (State.ACCEPTED, State.ACCEPTED, None),  # renamed
        (State.ALLOCATING, State.ACCEPTED, None),
        (State.STARTING, State.ALLOCATING, None),
        (State.RUNNING, State.STARTING, "instance.running"),
        (State.RUNNING, State.RUNNING, None),
        (State.STOPPING, State.RUNNING, None),
        (State.STOPPED, State.RUNNING, None),
        (State.TERMINATED, State.STOPPING, "instance.terminated"),
        (State.TERMINATED, State.TERMINATED, None),  # its machine is gone
        (State.FAILED, State.STARTING, "instance.failed"),
        (State.FAILED, State.RUNNING, "instance.failed"),
    ],
)
def test_arrivals_are_told(state: State, previous: State | None, told: str | None) -> None:
    found = render(state, previous)
    assert (found[0] if found else None) == told


def test_preemption_counts_as_terminated() -> None:
    assert render(State.FAILED, State.RUNNING, state_reason="PREEMPTED")[0] == "instance.terminated"


def test_the_payload_holds_the_instance() -> None:
    _, payload = render(State.RUNNING, State.STARTING)
    assert json.loads(json.dumps(payload)) == {
        "id": "evt_1",
        "type": "instance.running",
        "created_at": "1970-01-01T00:00:01.500000Z",
        "data": {
            "id": "inst_1", "status": "running", "gpu_type": "h100_sxm", "gpu_count": 2, "region": "eu",
            "tier": "spot", "price_per_hour": 2.49, "created_at": "2023-11-14T22:13:20Z",
        },
    }  # fmt: skip


def test_numbers_are_told_as_rest_shows_them() -> None:
    for nanos, shown_as in ((0, "2"), (490_000_000, "2.49")):
        _, payload = render(State.RUNNING, State.STARTING, price_per_hour={"units": 2, "nanos": nanos})
        assert f'"price_per_hour": {shown_as},' in json.dumps(payload)


def test_headers_and_types_are_the_documented_ones() -> None:
    delivery = WebhookDelivery("evt_1", "instance.running", "d-1", 1_700_000_000, "ab" * 32)
    assert dict(WEBHOOKS.headers(delivery)) == {
        "Gpuai-Signature": f"t=1700000000,v1={'ab' * 32}",
        "Gpuai-Event-Id": "evt_1",
    }
    schema = DOCUMENT["components"]["schemas"]["WebhookEndpoint"]
    assert list(WEBHOOKS.event_types) == schema["properties"]["event_types"]["items"]["enum"]


def test_the_pauses_grow() -> None:
    pauses = WEBHOOKS.retry_s
    assert all(later / earlier == 4 for earlier, later in pairwise(pauses))
