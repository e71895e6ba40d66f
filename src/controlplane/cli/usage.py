"""`gpuplane usage`: what was used and what it costs."""

from __future__ import annotations

from typing import Any

import click

from controlplane.cli.base import Group, common, connect
from controlplane.cli.find import INSTANCE, instance_id
from controlplane.cli.values import SINCE


class _UsageGroup(Group):
    """`gpuplane usage` alone is the most wanted of its commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["buckets", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_UsageGroup)
def usage() -> None:
    """Show usage and cost.  [default command: buckets]"""


@usage.command()
@click.option("--since", type=SINCE, help="From then on: 2026-11-01, or 24h ago.  [default: 30d]")
@click.option("--until", type=SINCE, help="Up to then.  [default: now]")
@click.option(
    "--by",
    "bucket",
    type=click.Choice(["hour", "day", "week", "month"]),
    default="day",
    show_default=True,
    help="Bucket.",
)
@click.option("--group", type=click.Choice(["instance", "gpu-type", "provider"]), help="Split each bucket by this.")
def buckets(since: Any, until: Any, bucket: str, group: str | None) -> None:
    """Usage by hour, day, week or month."""
    from gpuplane.v1.usage_service_pb2 import QueryUsageRequest, UsageBucketSize, UsageGroup

    from controlplane.cli.output import from_word, print_json, print_table
    from controlplane.cli.values import format_money, to_datetime

    request = QueryUsageRequest(
        start_time=since,
        end_time=until,
        bucket=from_word(UsageBucketSize, bucket),
        group_by=from_word(UsageGroup, group),
        page_size=1000,
    )
    with connect() as client:
        found = list(client.list_all(client.usage.QueryUsage, request))
    if common().json:
        print_json(found)
        return
    pattern = "%Y-%m-%d %H:%M" if bucket == "hour" else "%Y-%m-%d"
    rows = [
        (
            to_datetime(b.start_time).strftime(pattern),
            b.group or "-",
            f"{b.gpu_seconds / 3600:.2f}",
            format_money(b.cost),
        )
        for b in found
    ]
    headings = ("FROM (UTC)", (group or "group").upper(), "GPU HOURS", "COST")
    print_table(headings, rows, keep=headings, empty="nothing was used in that time")


@usage.command()
@click.option("--since", type=SINCE, help="From then on.  [default: this month]")
@click.option("--until", type=SINCE, help="Up to then.  [default: now]")
@click.option("--instance", type=INSTANCE, help="Only this machine.")
def summary(since: Any, until: Any, instance: str | None) -> None:
    """Totals by provider and GPU type."""
    from gpuplane.v1.usage_service_pb2 import GetCostSummaryRequest

    from controlplane.cli.output import print_details, print_json
    from controlplane.cli.values import format_money

    with connect() as client:
        id = instance_id(client, instance) if instance else ""
        request = GetCostSummaryRequest(start_time=since, end_time=until, instance_id=id)
        found = client.usage.GetCostSummary(request)
    if common().json:
        print_json(found)
        return
    shares = [("provider", found.by_provider), ("gpu", found.by_gpu_type)]
    print_details(
        [
            ("total", format_money(found.total)),
            ("machines", str(found.instance_count)),
            ("hours", f"{found.hours:.2f}"),
            *((f"{kind} {share.key}", format_money(share.cost)) for kind, list_ in shares for share in list_),
        ]
    )


@usage.command()
@click.option("--instance", type=INSTANCE, help="Only this machine.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="At most so many, newest first.",
)
def ledger(instance: str | None, limit: int) -> None:
    """Single charges, newest first."""
    from gpuplane.v1.usage_service_pb2 import ListLedgerEntriesRequest

    from controlplane.cli.output import print_json, print_table
    from controlplane.cli.values import format_duration, format_money, to_datetime

    with connect() as client:
        id = instance_id(client, instance) if instance else ""
        request = ListLedgerEntriesRequest(instance_id=id, page_size=min(limit, 1000))
        found = list(client.list_all(client.usage.ListLedgerEntries, request, limit=limit))
    if common().json:
        print_json(found)
        return
    rows = [
        (
            f"{to_datetime(entry.start_time):%Y-%m-%d %H:%M:%S}",
            format_duration((to_datetime(entry.end_time) - to_datetime(entry.start_time)).total_seconds()),
            format_money(entry.amount),
            entry.instance_id,
            entry.description,
        )
        for entry in found
    ]
    headings = ("FROM (UTC)", "FOR", "AMOUNT", "INSTANCE", "WHAT")
    print_table(headings, rows, keep=headings[:4], empty="nothing was charged")
