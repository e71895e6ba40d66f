"""`gpuplane budgets`: limits on spending."""

from __future__ import annotations

from typing import Any

import click

from controlplane.cli.base import Group, common, connect
from controlplane.cli.find import budget_id
from controlplane.cli.values import MONEY

PERIODS = ("total", "hour", "day", "month")


@click.group(cls=Group)
def budgets() -> None:
    """Limit what may be spent; machines end when a budget is used up."""


@budgets.command()
@click.argument("name")
@click.argument("limit", type=MONEY)
@click.option(
    "--per",
    "period",
    type=click.Choice(PERIODS),
    default="total",
    show_default=True,
    help="Starts anew each.",
)
@click.option("--request-id", default="", help="Repeating with the same id makes nothing more.")
def create(name: str, limit: Any, period: str, request_id: str) -> None:
    """Add a budget, e.g. `gpuplane budgets create team 100 --per month`."""
    from gpuplane.v1.budget_service_pb2 import BudgetPeriod, CreateBudgetRequest

    from controlplane.cli.output import from_word

    request = CreateBudgetRequest(
        name=name,
        limit=limit,
        period=from_word(BudgetPeriod, period),
        request_id=request_id,
    )
    with connect() as client:
        _show(client.budgets.CreateBudget(request))


@budgets.command("list")
def list_() -> None:
    """List budgets with what is spent and held."""
    from gpuplane.v1.budget_service_pb2 import ListBudgetsRequest

    from controlplane.cli.output import print_json, print_table
    from controlplane.cli.values import format_money

    with connect() as client:
        found = list(client.budgets.ListBudgets(ListBudgetsRequest()).budgets)
    if common().json:
        print_json(found)
        return
    rows = [
        (
            b.id,
            b.name,
            _period(b),
            format_money(b.limit),
            format_money(b.spent),
            format_money(b.held),
            f"{b.crossed_percent} %",
        )
        for b in found
    ]
    headings = ("ID", "NAME", "PER", "LIMIT", "SPENT", "HELD", "PASSED")
    print_table(headings, rows, keep=("ID", "LIMIT", "SPENT", "HELD"), empty="no budgets: spending is not limited")


@budgets.command()
@click.argument("id", metavar="BUDGET")
def get(id: str) -> None:
    """Show one budget."""
    from gpuplane.v1.budget_service_pb2 import GetBudgetRequest

    with connect() as client:
        _show(client.budgets.GetBudget(GetBudgetRequest(id=budget_id(client, id))))


@budgets.command()
@click.argument("id", metavar="BUDGET")
@click.option("--name", help="New name.")
@click.option("--limit", type=MONEY, help="New limit. Below what is spent, it ends machines.")
def update(id: str, name: str | None, limit: Any) -> None:
    """Change name or limit."""
    from gpuplane.v1.budget_service_pb2 import UpdateBudgetRequest

    if name is None and limit is None:
        raise click.UsageError("nothing to change; give --name or --limit")
    with connect() as client:
        _show(client.budgets.UpdateBudget(UpdateBudgetRequest(id=budget_id(client, id), name=name, limit=limit)))


@budgets.command()
@click.argument("id", metavar="BUDGET")
def delete(id: str) -> None:
    """Remove a budget."""
    from gpuplane.v1.budget_service_pb2 import DeleteBudgetRequest

    with connect() as client:
        client.budgets.DeleteBudget(DeleteBudgetRequest(id=budget_id(client, id)))
    click.echo(f"{id} is removed", err=True)


def _period(budget: Any) -> str:
    from gpuplane.v1.budget_service_pb2 import BudgetPeriod

    from controlplane.cli.output import word

    return word(BudgetPeriod, budget.period)


def _show(budget: Any) -> None:
    from controlplane.cli.output import print_details, print_json
    from controlplane.cli.values import format_money, format_time

    if common().json:
        print_json(budget)
        return
    print_details(
        [
            ("id", budget.id),
            ("name", budget.name),
            ("limit", f"{format_money(budget.limit)} per {_period(budget)}"),
            ("spent", format_money(budget.spent)),
            ("held", format_money(budget.held)),
            ("passed", f"{budget.crossed_percent} %"),
            ("since", format_time(budget.period_start_time)),
        ]
    )
