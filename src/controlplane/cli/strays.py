"""`gpuplane strays`: machines that cost money and belong to no live instance. Operators only."""

from __future__ import annotations

from typing import Any

import click

from controlplane.cli.base import Group, common, connect

_KINDS = ("orphan", "foreign")


@click.group(cls=Group)
def strays() -> None:
    """Decide about machines that nobody claims (needs the operator key).

    Orphans, left over by instances that have ended or moved on, are destroyed by themselves. Foreign machines carry a
    label of this deployment that its database does not know; they are left alone until you adopt or destroy them.
    """


@strays.command("list")
@click.option("--provider", default="", help="Only at this provider.")
@click.option("--kind", type=click.Choice(_KINDS), help="Only of this kind.")
def list_(provider: str, kind: str | None) -> None:
    """List machines that no live instance claims."""
    from gpuplane.v1.stray_pb2 import StrayKind, StrayWish
    from gpuplane.v1.stray_service_pb2 import ListStraysRequest

    from controlplane.cli.output import from_word, print_json, print_table, word
    from controlplane.cli.values import format_age

    request = ListStraysRequest(page_size=1000, provider=provider, kind=from_word(StrayKind, kind))
    with connect(operator=True) as client:
        found = list(client.list_all(client.strays.ListStrays, request))
    if common().json:
        print_json(found)
        return
    rows = [
        (
            stray.id,
            word(StrayKind, stray.kind),
            stray.provider,
            stray.machine_id,
            stray.provider_status,
            _price(stray),
            format_age(stray.first_seen_time),
            word(StrayWish, stray.wish) if stray.wish else "",
        )
        for stray in found
    ]
    headings = ("ID", "KIND", "PROVIDER", "MACHINE", "STATUS", "PRICE", "SEEN", "WISH")
    print_table(
        headings,
        rows,
        keep=("ID", "KIND", "PROVIDER", "PRICE", "SEEN", "WISH"),
        fold=("MACHINE", "STATUS"),
        empty="no strays",
    )


@strays.command()
@click.argument("id")
def get(id: str) -> None:
    """Show one machine."""
    from gpuplane.v1.stray_service_pb2 import GetStrayRequest

    with connect(operator=True) as client:
        _show(client.strays.GetStray(GetStrayRequest(id=id)))


@strays.command()
@click.argument("id")
@click.option("--account", "account_id", required=True, metavar="ID", help="Account that gets the machine.")
def adopt(id: str, account_id: str) -> None:
    """Make a foreign machine an instance of an account, at the next sweep."""
    from gpuplane.v1.stray_service_pb2 import AdoptStrayRequest

    with connect(operator=True) as client:
        _show(client.strays.AdoptStray(AdoptStrayRequest(id=id, account_id=account_id)))


@strays.command()
@click.argument("id")
@click.confirmation_option(prompt="This destroys the machine and what is on it. Go on?")
def destroy(id: str) -> None:
    """Destroy a machine, at the next sweep."""
    from gpuplane.v1.stray_service_pb2 import DestroyStrayRequest

    with connect(operator=True) as client:
        _show(client.strays.DestroyStray(DestroyStrayRequest(id=id)))


def _price(stray: Any) -> str:
    from controlplane.cli.values import format_hourly

    return format_hourly(stray.price_per_hour) if stray.HasField("price_per_hour") else "-"


def _show(stray: Any) -> None:
    from gpuplane.v1.stray_pb2 import StrayKind, StrayWish

    from controlplane.cli.output import print_details, print_json, word
    from controlplane.cli.values import format_time

    if common().json:
        print_json(stray)
        return
    print_details(
        [
            ("id", stray.id),
            ("kind", word(StrayKind, stray.kind)),
            ("provider", stray.provider),
            ("credential", stray.credential_id),
            ("machine", stray.machine_id),
            ("label", stray.label),
            ("instance", stray.instance_id),
            ("status", stray.provider_status),
            ("price", _price(stray)),
            ("first seen", format_time(stray.first_seen_time)),
            ("last seen", format_time(stray.last_seen_time)),
            ("wish", word(StrayWish, stray.wish) if stray.wish else ""),
            ("for account", stray.account_id),
            ("not done yet", stray.error),
        ]
    )
