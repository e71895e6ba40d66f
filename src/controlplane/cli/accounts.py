"""`gpuplane accounts`: tenants. Operators only."""

from __future__ import annotations

from typing import Any

import click

from controlplane.cli.base import Group, common, connect


@click.group(cls=Group)
def accounts() -> None:
    """Manage accounts (needs the operator key)."""


@accounts.command()
@click.argument("name")
@click.option("--currency", default="", help="Currency of its bills.  [default: USD]")
@click.option("--max-instances", type=click.IntRange(1, 100_000), help="Most machines at once.  [default: 1000]")
@click.option("--request-id", default="", help="Repeating with the same id makes nothing more.")
def create(name: str, currency: str, max_instances: int | None, request_id: str) -> None:
    """Make an account. It has no key yet: `gpuplane keys api create NAME --account ID`."""
    from gpuplane.v1.account_service_pb2 import CreateAccountRequest

    request = CreateAccountRequest(
        name=name, currency=currency, max_instances=max_instances or 0, request_id=request_id
    )
    with connect(operator=True) as client:
        _show(client.accounts.CreateAccount(request))


@accounts.command()
@click.argument("id")
def get(id: str) -> None:
    """Show one account."""
    from gpuplane.v1.account_service_pb2 import GetAccountRequest

    with connect(operator=True) as client:
        _show(client.accounts.GetAccount(GetAccountRequest(id=id)))


@accounts.command("list")
def list_() -> None:
    """List accounts, newest first."""
    from gpuplane.v1.account_service_pb2 import ListAccountsRequest

    from controlplane.cli.output import print_json, print_table
    from controlplane.cli.values import format_age

    with connect(operator=True) as client:
        found = list(client.list_all(client.accounts.ListAccounts, ListAccountsRequest(page_size=1000)))
    if common().json:
        print_json(found)
        return
    rows = [
        (
            account.id,
            account.name,
            account.currency,
            str(account.max_instances),
            "closed" if account.HasField("close_time") else "open",
            format_age(account.create_time),
        )
        for account in found
    ]
    headings = ("ID", "NAME", "CURRENCY", "MACHINES", "STATE", "AGE")
    print_table(headings, rows, keep=("ID", "STATE", "AGE"), empty="no accounts")


@accounts.command()
@click.argument("id")
@click.confirmation_option(prompt="This ends all its machines and keys, for good. Go on?")
def close(id: str) -> None:
    """End all machines and keys of an account, for good."""
    from gpuplane.v1.account_service_pb2 import CloseAccountRequest

    with connect(operator=True) as client:
        _show(client.accounts.CloseAccount(CloseAccountRequest(id=id)))


def _show(account: Any) -> None:
    from controlplane.cli.output import print_details, print_json
    from controlplane.cli.values import format_time

    if common().json:
        print_json(account)
        return
    print_details(
        [
            ("id", account.id),
            ("name", account.name),
            ("currency", account.currency),
            ("most machines", str(account.max_instances)),
            ("created", format_time(account.create_time)),
            ("closed", format_time(account.close_time)),
        ]
    )
