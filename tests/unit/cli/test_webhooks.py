"""`gpuplane webhooks`."""

from __future__ import annotations

import json

from google.protobuf.empty_pb2 import Empty
from gpuplane.v1 import webhook_pb2 as pb
from gpuplane.v1 import webhook_service_pb2 as service

from tests.unit.cli.conftest import Run
from tests.unit.client.fake import FakePlane

ENDPOINT = pb.WebhookEndpoint(
    id="e-1", dialect="gpuai", url="https://h.example/x", event_types=["instance.running"], enabled=True,
    pending_count=3, failure_count=2,
)  # fmt: skip
DELIVERY = pb.WebhookDelivery(
    id="d-1", endpoint_id="e-1", instance_id="inst_1", event_id="evt_1", event_type="instance.running",
    state=pb.WEBHOOK_DELIVERY_STATE_PENDING, attempts=[pb.WebhookAttempt(status=503)],
)  # fmt: skip


def test_create_prints_the_secret_alone(cli: Run, plane: FakePlane) -> None:
    made = service.CreateWebhookEndpointResponse(webhook_endpoint=ENDPOINT, secret="ab" * 32)
    plane.on("CreateWebhookEndpoint", made, made)
    result = cli("webhooks", "create", "https://h.example/x", "--dialect", "gpuai", "--event", "instance.running")
    assert result.out == "ab" * 32 + "\n"
    assert "e-1 gets instance.running" in result.err
    asked = plane.requests("CreateWebhookEndpoint")[0]
    assert (asked.url, asked.dialect, list(asked.event_types)) == ("https://h.example/x", "gpuai", ["instance.running"])
    assert json.loads(cli("webhooks", "create", "https://h.example/x", "-o", "json").out)["secret"] == "ab" * 32


def test_list_get_and_switch(cli: Run, plane: FakePlane) -> None:
    plane.on("ListWebhookEndpoints", service.ListWebhookEndpointsResponse(webhook_endpoints=[ENDPOINT]))
    assert "failing (2)" in cli("webhooks", "list").out
    plane.on("GetWebhookEndpoint", ENDPOINT)
    assert "https://h.example/x" in cli("webhooks", "get", "e-1").out
    for word in ("enable", "disable"):
        plane.on("UpdateWebhookEndpoint", ENDPOINT)
        assert cli("webhooks", word, "e-1").code == 0
    assert [request.enabled for request in plane.requests("UpdateWebhookEndpoint")] == [True, False]


def test_history_and_sending_again(cli: Run, plane: FakePlane) -> None:
    plane.on("ListWebhookDeliveries", service.ListWebhookDeliveriesResponse(deliveries=[DELIVERY]))
    assert "1: 503" in cli("webhooks", "deliveries", "e-1").out
    plane.on("RedeliverWebhook", DELIVERY)
    assert "evt_1 is sent again" in cli("webhooks", "redeliver", "e-1", "d-1").err
    plane.on("DeleteWebhookEndpoint", Empty())
    assert "e-1 is removed" in cli("webhooks", "delete", "e-1").err
