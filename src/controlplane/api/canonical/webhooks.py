"""gpuplane.v1.Webhooks."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from gpuplane.v1 import webhook_pb2
from gpuplane.v1 import webhook_service_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.canonical.shapes import Plane, request_key
from controlplane.dialect import WebhookDelivery, WebhookFormat
from controlplane.domain.errors import invalid
from controlplane.domain.principal import CANONICAL_DIALECT
from controlplane.domain.webhook import Delivery, WebhookEndpoint
from controlplane.usecases import validation, webhooks
from controlplane.usecases.pages import read_page
from controlplane.wire.webhook import EVENT_TYPE, delivery_message, endpoint_message, event_payload


def _headers(delivery: WebhookDelivery) -> tuple[tuple[str, str], ...]:
    return (
        ("Gpuplane-Event", delivery.event_type),
        ("Gpuplane-Event-Id", delivery.event_id),
        ("Gpuplane-Delivery", delivery.delivery_id),
        ("Gpuplane-Signature", f"t={delivery.timestamp},v1={delivery.signature}"),
    )


CANONICAL_WEBHOOKS = WebhookFormat(
    event_types=(EVENT_TYPE,),
    render=event_payload,
    headers=_headers,
    retry_s=tuple(5.0 * 4**attempt for attempt in range(8)),  # from 5 s to 23 h, 30 h in all
)


class Webhooks:
    """Manages webhook endpoints and shows what was sent to them."""

    service = "gpuplane.v1.Webhooks"

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._core = plane.core

    async def create_webhook_endpoint(
        self, request: pb.CreateWebhookEndpointRequest, call: Call
    ) -> pb.CreateWebhookEndpointResponse:
        validation.check_count("event_types", request.event_types, 64)
        row, secret = await webhooks.create_endpoint(
            self._core, call.principal, request.dialect or CANONICAL_DIALECT, request.url, request.event_types,
            request_key(request, call),
        )  # fmt: skip
        return pb.CreateWebhookEndpointResponse(webhook_endpoint=endpoint_message(row), secret=secret)

    async def get_webhook_endpoint(
        self, request: pb.GetWebhookEndpointRequest, call: Call
    ) -> webhook_pb2.WebhookEndpoint:
        return endpoint_message(await webhooks.endpoint_of(self._core, call.principal, request.id))

    async def list_webhook_endpoints(
        self, request: pb.ListWebhookEndpointsRequest, call: Call
    ) -> pb.ListWebhookEndpointsResponse:
        async def fetch(before_id: str, limit: int) -> list[tuple[str, WebhookEndpoint]]:
            return await webhooks.endpoints(self._core, call.principal, before_id, limit)

        query = ("webhook endpoints", call.principal.account_id)
        page = await read_page(self._plane.tokens, query, request.page_size, request.page_token, None, fetch)
        return pb.ListWebhookEndpointsResponse(
            webhook_endpoints=map(endpoint_message, page.items), next_page_token=page.next_page_token
        )

    async def update_webhook_endpoint(
        self, request: pb.UpdateWebhookEndpointRequest, call: Call
    ) -> webhook_pb2.WebhookEndpoint:
        if not request.HasField("enabled"):
            raise invalid("enabled", "is required", "")
        key = request_key(request, call)
        return endpoint_message(
            await webhooks.set_enabled(self._core, call.principal, request.id, request.enabled, key)
        )

    async def delete_webhook_endpoint(self, request: pb.DeleteWebhookEndpointRequest, call: Call) -> Empty:
        await webhooks.delete_endpoint(self._core, call.principal, request.id, request_key(request, call))
        return Empty()

    async def list_webhook_deliveries(
        self, request: pb.ListWebhookDeliveriesRequest, call: Call
    ) -> pb.ListWebhookDeliveriesResponse:
        async def fetch(before_id: str, limit: int) -> list[tuple[str, Delivery]]:
            return await webhooks.deliveries(self._core, call.principal, request.endpoint_id, before_id, limit)

        query = ("webhook deliveries", call.principal.account_id, request.endpoint_id)
        page = await read_page(self._plane.tokens, query, request.page_size, request.page_token, None, fetch)
        return pb.ListWebhookDeliveriesResponse(
            deliveries=map(delivery_message, page.items), next_page_token=page.next_page_token
        )

    async def redeliver_webhook(self, request: pb.RedeliverWebhookRequest, call: Call) -> webhook_pb2.WebhookDelivery:
        key = request_key(request, call)
        return delivery_message(
            await webhooks.redeliver(self._core, call.principal, request.endpoint_id, request.id, key)
        )
