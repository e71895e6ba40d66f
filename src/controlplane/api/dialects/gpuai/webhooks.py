"""Events of instances as the vendor's page on webhooks tells them; the payload, which it leaves open, is ours."""

from __future__ import annotations

from collections.abc import Mapping

from gpuplane.v1 import watch_pb2

from controlplane.api.dialects.gpuai.translate import instance_shown
from controlplane.api.dialects.shared import json_object, rfc3339
from controlplane.dialect import WebhookDelivery, WebhookFormat
from controlplane.domain.state import State
from controlplane.wire.instance import state_of

CREATING, RUNNING, TERMINATED, FAILED = (
    "instance.creating",
    "instance.running",
    "instance.terminated",
    "instance.failed",
)

_TYPES = {
    State.ACCEPTED: CREATING,
    State.RUNNING: RUNNING,
    State.TERMINATED: TERMINATED,
    State.FAILED: FAILED,
}
"""What the arrival in a state is called; the vendor has no event for the others."""


def render(event_id: str, at: int, body: bytes) -> tuple[str, Mapping[str, object]] | None:
    """The type and the payload of an event; None for one that is not told."""
    event = watch_pb2.InstanceEvent.FromString(body)
    state = state_of(event.instance.state)
    if state not in _TYPES or state is state_of(event.previous_state):
        return None
    # The vendor counts an end by preemption as terminated, not as failed.
    preempted = event.instance.state_reason == "PREEMPTED"
    event_type = TERMINATED if preempted else _TYPES[state]
    data = json_object(instance_shown(event.instance))
    return event_type, {"id": event_id, "type": event_type, "created_at": rfc3339(at), "data": data}


def headers(delivery: WebhookDelivery) -> tuple[tuple[str, str], ...]:
    """What receivers verify, and tell repeats by."""
    return (
        ("Gpuai-Signature", f"t={delivery.timestamp},v1={delivery.signature}"),
        ("Gpuai-Event-Id", delivery.event_id),
    )


WEBHOOKS = WebhookFormat(
    event_types=(CREATING, RUNNING, TERMINATED, FAILED),
    render=render,
    headers=headers,
    retry_s=tuple(5.0 * 4**attempt for attempt in range(8)),  # from 5 s to 23 h, 30 h in all
)
