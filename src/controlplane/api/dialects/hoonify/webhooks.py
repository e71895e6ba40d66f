"""The event `instance.lifecycle` (seed 002: on every status transition, with the instance attached; the vendor's page
on webhooks: envelope, headers, retries)."""

from __future__ import annotations

from collections.abc import Mapping

from gpuplane.v1 import watch_pb2

from controlplane.api.dialects.hoonify.translate import STATES, instance_shown
from controlplane.api.dialects.shared import json_object
from controlplane.dialect import WebhookDelivery, WebhookFormat
from controlplane.wire.instance import state_of

LIFECYCLE = "instance.lifecycle"


def render(event_id: str, at: int, body: bytes) -> tuple[str, Mapping[str, object]] | None:
    """The event; None where the status in this API's words stayed the same. The first one has no previous status."""
    event = watch_pb2.InstanceEvent.FromString(body)
    if not event.HasField("instance"):
        return None  # a budget's
    shown = instance_shown(event.instance)
    previous = state_of(event.previous_state)
    previous_status = None if previous is None else STATES[previous]
    if shown.status == previous_status:
        return None
    data = {"instance": {**json_object(shown), "previous_status": previous_status}}
    return LIFECYCLE, {
        "id": event_id,
        "object": "event",
        "type": LIFECYCLE,
        "created": at // 1_000_000,
        "data": data,
    }


def headers(delivery: WebhookDelivery) -> tuple[tuple[str, str], ...]:
    """What receivers verify, and tell repeats by."""
    return (
        ("Hoonify-Event", delivery.event_type),
        ("Hoonify-Event-Id", delivery.event_id),
        ("Hoonify-Signature", f"t={delivery.timestamp},v1={delivery.signature}"),
        ("Hoonify-Delivery", delivery.delivery_id),
    )


WEBHOOKS = WebhookFormat(
    event_types=(LIFECYCLE,),
    render=render,
    headers=headers,
    # The vendor's "0 s" before these is the first attempt.
    retry_s=(30.0, 120.0, 600.0, 3600.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0),
)
