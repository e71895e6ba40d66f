"""Webhooks between the domain and the canonical API, and the canonical payload of an event."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf import json_format
from gpuplane.v1 import watch_pb2
from gpuplane.v1 import webhook_pb2 as pb

from controlplane.domain.webhook import Attempt, Delivery, DeliveryState, WebhookEndpoint
from controlplane.wire.common import number, timestamp

EVENT_TYPE = "instance.changed"

_STATES = {state: number(pb.WebhookDeliveryState, "WEBHOOK_DELIVERY_STATE", state) for state in DeliveryState}


def endpoint_message(row: WebhookEndpoint) -> pb.WebhookEndpoint:
    """The canonical message of a row, without the secret."""
    return pb.WebhookEndpoint(
        id=row.id,
        dialect=row.dialect,
        url=row.url,
        event_types=row.event_types,
        enabled=row.enabled,
        pending_count=row.pending,
        failure_count=row.failures,
        create_time=timestamp(row.created_at),
    )


def delivery_message(row: Delivery) -> pb.WebhookDelivery:
    """The canonical message of a row."""
    message = pb.WebhookDelivery(
        id=row.id,
        endpoint_id=row.endpoint_id,
        instance_id=row.subject_id,
        event_id=row.event_id,
        event_type=row.event_type,
        body=row.body,
        state=_STATES[row.state],
        attempts=map(_attempt_message, row.attempts),
        error=row.error,
        create_time=timestamp(row.created_at),
    )
    if row.done_at is not None:
        message.done_time.CopyFrom(timestamp(row.done_at))
    return message


def _attempt_message(attempt: Attempt) -> pb.WebhookAttempt:
    return pb.WebhookAttempt(
        start_time=timestamp(attempt.at), status=attempt.status, error=attempt.error, duration_ms=attempt.ms
    )


def event_payload(event_id: str, at: int, body: bytes) -> tuple[str, Mapping[str, object]] | None:
    """Type and payload of a serialized InstanceEvent: told when the state changed, as Watch tells it."""
    event = watch_pb2.InstanceEvent.FromString(body)
    if event.instance.state == event.previous_state:
        return None
    data = json_format.MessageToDict(event, preserving_proto_field_name=True)
    return EVENT_TYPE, {"id": event_id, "type": EVENT_TYPE, "create_time": timestamp(at).ToJsonString(), "data": data}
