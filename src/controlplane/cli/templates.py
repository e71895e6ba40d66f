"""`gpuplane templates`: the recipes that providers have for machines."""

from __future__ import annotations

from typing import Any

import click

from controlplane.cli.base import Group, common, connect


@click.group(cls=Group)
def templates() -> None:
    """Show providers' recipes for machines."""


@templates.command("list")
@click.option("--name", default="", metavar="TEXT", help="Part of the name.")
@click.option("--provider", default="", help="Only of this provider.")
@click.option("--recommended", is_flag=True, help="Only those that their provider recommends.")
@click.option("--offer", default="", metavar="ID", help="Only those that this offer can run.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
def list_(name: str, provider: str, recommended: bool, offer: str, limit: int) -> None:
    """List templates by name."""
    from gpuplane.v1.offer_service_pb2 import ListCompatibleTemplatesRequest, ListTemplatesRequest

    from controlplane.cli.output import print_json, print_table

    if offer and (name or provider or recommended):
        raise click.UsageError("--offer lists all that it can run; leave out --name, --provider and --recommended")
    size = min(limit, 1000)
    with connect() as client:
        method: Any = client.offers.ListCompatibleTemplates if offer else client.offers.ListTemplates
        request: Any = (
            ListCompatibleTemplatesRequest(offer_id=offer, page_size=size)
            if offer
            else ListTemplatesRequest(name=name, provider=provider, recommended_only=recommended, page_size=size)
        )
        found = list(client.list_all(method, request, limit=limit))
    if common().json:
        print_json(found)
        return
    rows = [(t.id, t.provider, t.name, t.image, "recommended" if t.recommended else "") for t in found]
    print_table(("ID", "PROVIDER", "NAME", "IMAGE", "NOTE"), rows, keep=("ID", "NOTE"), empty="no templates")


@templates.command()
@click.argument("id", metavar="TEMPLATE")
def get(id: str) -> None:
    """Show one template."""
    from gpuplane.v1.offer_service_pb2 import GetTemplateRequest

    from controlplane.cli.output import print_details, print_json
    from controlplane.cli.values import format_time

    with connect() as client:
        found = client.offers.GetTemplate(GetTemplateRequest(id=id))
    if common().json:
        print_json(found)
        return
    print_details(
        [
            ("id", found.id),
            ("provider", found.provider),
            ("name", found.name),
            ("image", found.image),
            ("description", found.description),
            ("ports", ", ".join(map(str, found.ports))),
            ("ssh", "yes" if found.ssh else "no"),
            ("disk", f"{found.disk_gb} GB" if found.disk_gb else ""),
            ("needs", "; ".join(f"{c.fact} {c.operator} {', '.join(c.values)}" for c in found.constraints)),
            ("made", format_time(found.create_time)),
        ]
    )
