"""`gpuplane webhooks`: URLs that are told what happens to machines."""

from __future__ import annotations

from typing import Any

import click

from controlplane.cli.base import Group, common, connect


@click.group(cls=Group)
def webhooks() -> None:
    """Have events posted to URLs."""


@webhooks.command()
@click.argument("url")
@click.option("--dialect", default="", help="Whose payloads and headers, e.g. gpuai.  [default: gpuplane]")
@click.option("--event", "event_types", multiple=True, help="Event type to send. Repeatable.  [default: all]")
@click.option("--request-id", default="", help="Repeating with the same id makes nothing more.")
def create(url: str, dialect: str, event_types: tuple[str, ...], request_id: str) -> None:
    """Add a URL. The secret that signs what it gets is shown now and never again."""
    from gpuplane.v1.webhook_service_pb2 import CreateWebhookEndpointRequest

    from controlplane.cli.output import print_json

    request = CreateWebhookEndpointRequest(url=url, dialect=dialect, event_types=event_types, request_id=request_id)
    with connect() as client:
        made = client.webhooks.CreateWebhookEndpoint(request)
    if common().json:
        print_json(made)
        return
    endpoint = made.webhook_endpoint
    click.echo(f"{endpoint.id} gets {', '.join(endpoint.event_types)}; its secret, shown only now:", err=True)
    click.echo(made.secret)


@webhooks.command("list")
def list_() -> None:
    """List endpoints, newest first."""
    from gpuplane.v1.webhook_service_pb2 import ListWebhookEndpointsRequest

    from controlplane.cli.output import print_json, print_table

    with connect() as client:
        request = ListWebhookEndpointsRequest(page_size=1000)
        found = list(client.list_all(client.webhooks.ListWebhookEndpoints, request))
    if common().json:
        print_json(found)
        return
    rows = [(e.id, e.dialect, e.url, _state(e), str(e.pending_count)) for e in found]
    print_table(("ID", "DIALECT", "URL", "STATE", "PENDING"), rows, keep=("ID", "STATE"), empty="no webhook endpoints")


@webhooks.command()
@click.argument("id", metavar="ENDPOINT")
def get(id: str) -> None:
    """Show one endpoint."""
    from gpuplane.v1.webhook_service_pb2 import GetWebhookEndpointRequest

    with connect() as client:
        _show(client.webhooks.GetWebhookEndpoint(GetWebhookEndpointRequest(id=id)))


@webhooks.command()
@click.argument("id", metavar="ENDPOINT")
def enable(id: str) -> None:
    """Send events again, what is pending first."""
    _switch(id, True)


@webhooks.command()
@click.argument("id", metavar="ENDPOINT")
def disable(id: str) -> None:
    """Send nothing for now; events meanwhile are not kept for it."""
    _switch(id, False)


@webhooks.command()
@click.argument("id", metavar="ENDPOINT")
def delete(id: str) -> None:
    """Remove an endpoint, and drop what is pending for it."""
    from gpuplane.v1.webhook_service_pb2 import DeleteWebhookEndpointRequest

    with connect() as client:
        client.webhooks.DeleteWebhookEndpoint(DeleteWebhookEndpointRequest(id=id))
    click.echo(f"{id} is removed", err=True)


@webhooks.command()
@click.argument("id", metavar="ENDPOINT")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
def deliveries(id: str, limit: int) -> None:
    """List what was and will be sent to an endpoint, newest first."""
    from gpuplane.v1.webhook_pb2 import WebhookDeliveryState
    from gpuplane.v1.webhook_service_pb2 import ListWebhookDeliveriesRequest

    from controlplane.cli.output import print_json, print_table, word
    from controlplane.cli.values import format_age

    with connect() as client:
        request = ListWebhookDeliveriesRequest(endpoint_id=id, page_size=limit)
        found = list(client.webhooks.ListWebhookDeliveries(request).deliveries)
    if common().json:
        print_json(found)
        return
    rows = [
        (d.id, d.event_type, d.instance_id, word(WebhookDeliveryState, d.state), _last(d), format_age(d.create_time))
        for d in found
    ]
    headings = ("ID", "EVENT", "INSTANCE", "STATE", "LAST ATTEMPT", "AGE")
    print_table(headings, rows, keep=("ID", "STATE", "AGE"), empty="nothing was sent")


@webhooks.command()
@click.argument("webhook", metavar="ENDPOINT")
@click.argument("id", metavar="DELIVERY")
def redeliver(webhook: str, id: str) -> None:
    """Send a delivered or failed event again."""
    from gpuplane.v1.webhook_service_pb2 import RedeliverWebhookRequest

    from controlplane.cli.output import print_json

    with connect() as client:
        row = client.webhooks.RedeliverWebhook(RedeliverWebhookRequest(endpoint_id=webhook, id=id))
    print_json(row) if common().json else click.echo(f"{row.event_id} is sent again", err=True)


def _switch(id: str, enabled: bool) -> None:
    from gpuplane.v1.webhook_service_pb2 import UpdateWebhookEndpointRequest

    with connect() as client:
        _show(client.webhooks.UpdateWebhookEndpoint(UpdateWebhookEndpointRequest(id=id, enabled=enabled)))


def _state(endpoint: Any) -> str:
    if not endpoint.enabled:
        return "disabled"
    return f"failing ({endpoint.failure_count})" if endpoint.failure_count else "enabled"


def _last(delivery: Any) -> str:
    if not delivery.attempts:
        return ""
    last = delivery.attempts[-1]
    return f"{len(delivery.attempts)}: {last.error or last.status}"


def _show(endpoint: Any) -> None:
    from controlplane.cli.output import print_details, print_json
    from controlplane.cli.values import format_time

    if common().json:
        print_json(endpoint)
        return
    print_details(
        [
            ("id", endpoint.id),
            ("dialect", endpoint.dialect),
            ("url", endpoint.url),
            ("events", ", ".join(endpoint.event_types)),
            ("state", _state(endpoint)),
            ("pending", str(endpoint.pending_count)),
            ("created", format_time(endpoint.create_time)),
        ]
    )
