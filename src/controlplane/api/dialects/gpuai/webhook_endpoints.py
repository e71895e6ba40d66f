"""gpuplane.dialects.gpuai.v1.WebhookEndpoints."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from gpuplane.dialects.gpuai.v1 import webhook_endpoints_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.dialects.gpuai.idempotency import request_key
from controlplane.api.dialects.gpuai.translate import limit_of, next_cursor
from controlplane.api.dialects.shared import rfc3339
from controlplane.api.plane import Plane
from controlplane.domain.errors import invalid
from controlplane.domain.webhook import WebhookEndpoint
from controlplane.usecases import webhooks
from controlplane.usecases.idempotency import FirstAnswers, RequestKey
from controlplane.usecases.pages import read_page

_DIALECT = "gpuai"


class WebhookEndpoints:
    """Registers, shows and removes the addresses that are told events in this API's words."""

    service = "gpuplane.dialects.gpuai.v1.WebhookEndpoints"

    def __init__(self, plane: Plane, answers: FirstAnswers) -> None:
        self._plane = plane
        self._core = plane.core
        self._answers = answers

    async def create_webhook_endpoint(self, request: pb.CreateWebhookEndpointRequest, call: Call) -> bytes:
        key = request_key(request, call)

        async def make() -> bytes:
            for field in ("url", "event_types"):
                if not getattr(request, field):
                    raise invalid(field, "is required", "")
            row, secret = await webhooks.create_endpoint(
                self._core, call.principal, _DIALECT, request.url, tuple(request.event_types), key
            )
            shown = _shown(row)
            shown.secret = secret
            return shown.SerializeToString()

        answer = await self._answers.once(call.principal, key, make)
        call.set_http_status(201)
        return answer

    async def list_webhook_endpoints(
        self, request: pb.ListWebhookEndpointsRequest, call: Call
    ) -> pb.WebhookEndpointPage:
        size = limit_of(request.limit if request.HasField("limit") else None)
        caller = call.principal

        async def fetch(before_id: str, limit: int) -> list[tuple[str, WebhookEndpoint]]:
            return await webhooks.endpoints(self._core, caller, before_id, limit, _DIALECT)

        query = ("gpuai webhook endpoints", caller.account_id)
        page = await read_page(self._plane.tokens, query, size, request.cursor, None, fetch)
        return pb.WebhookEndpointPage(data=map(_shown, page.items), next_cursor=next_cursor(page.next_page_token))

    async def get_webhook_endpoint(self, request: pb.GetWebhookEndpointRequest, call: Call) -> pb.WebhookEndpoint:
        return _shown(await webhooks.endpoint_of(self._core, call.principal, request.id, _DIALECT))

    async def delete_webhook_endpoint(self, request: pb.DeleteWebhookEndpointRequest, call: Call) -> Empty:
        await webhooks.delete_endpoint(self._core, call.principal, request.id, RequestKey(call.method.label), _DIALECT)
        call.set_http_status(204)
        return Empty()


def _shown(row: WebhookEndpoint) -> pb.WebhookEndpoint:
    return pb.WebhookEndpoint(
        id=row.id,
        url=row.url,
        event_types=row.event_types,
        enabled=row.enabled,
        created_at=rfc3339(row.created_at),
    )
