"""`gpuplane offers`, `gpuplane gpus` and `gpuplane prices`: the market."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from controlplane.cli.base import ApiCommand, Group, common, connect
from controlplane.cli.values import MONEY

ORDERS = ("price_per_hour", "reliability", "vram_gb", "gpu_count", "confidence")


F = TypeVar("F", bound=Callable[..., object])
_FILTERS = (
    click.option("--gpu", multiple=True, metavar="NAME", help="GPU type, e.g. H100; cpu for none. Repeatable."),
    click.option(
        "--count",
        type=click.IntRange(min=0),
        metavar="N",
        help="Number of GPUs, exactly; 0 for any.  [default: 1 to create or rank a GPU named by --gpu, else any]",
    ),
    click.option("--min-vram", type=click.IntRange(min=1), metavar="GB", help="Least memory of one GPU."),
    click.option("--region", multiple=True, help="na, eu or apac. Repeatable."),
    click.option("--tier", type=click.Choice(["on-demand", "spot"]), help="How firmly the machine is lent."),
    click.option("--provider", multiple=True, help="Only from this provider. Repeatable."),
    click.option("--min-reliability", type=click.FloatRange(0, 1), help="Least reliability, 0 to 1."),
    click.option("--min-confidence", type=click.FloatRange(0, 1), help="Least confidence that it can be had, 0 to 1."),
    click.option("--vendor", multiple=True, help="Maker of the GPU: NVIDIA, AMD or Intel. Repeatable."),
    click.option("--location", multiple=True, metavar="TEXT", help="Part of the location. Repeatable."),
    click.option("--max-price", type=MONEY, help="At most this per hour for the machine, e.g. 0.50."),
)


def filters(command: F) -> F:
    """The options that say what kind of machine is wanted."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


FILTERS = (
    "gpu",
    "count",
    "min_vram",
    "region",
    "tier",
    "provider",
    "min_reliability",
    "min_confidence",
    "vendor",
    "location",
)
"""Names of the options that `requirements` takes, beside the price."""


class _Listing(ApiCommand, Group):
    """A list that has commands of its own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


@click.group(cls=_Listing, invoke_without_command=True)
@filters
@click.option("--filter", "expression", default="", metavar="TEXT", help="By AIP-160, e.g. 'cuda_version >= 12.4'.")
@click.option("--template", default="", metavar="ID", help="That can run this template; see `gpuplane templates`.")
@click.option(
    "--sort", "--order", type=click.Choice(ORDERS), default="price_per_hour", show_default=True, help="Order."
)
@click.option("--desc", is_flag=True, help="Largest first.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--wide", "-w", is_flag=True, help="More columns than fit 100 characters.")
@click.pass_context
def offers(
    ctx: click.Context, /, sort: str, desc: bool, limit: int, wide: bool, expression: str, template: str, **wanted: Any
) -> None:
    """List what can be rented now, cheapest first."""
    if ctx.invoked_subcommand is not None:
        _refuse_options_before(ctx)
        return
    from gpuplane.v1.offer_service_pb2 import ListOffersRequest

    from controlplane.cli.output import print_json, print_table

    request = ListOffersRequest(
        requirements=requirements(**wanted),
        page_size=min(limit, 1000),
        order_by=f"{sort} desc" if desc else sort,
        filter=expression,
        template_id=template,
    )
    with connect() as client:
        found = list(client.list_all(client.offers.ListOffers, request, limit=limit))
    if common().json:
        print_json(found)
        return
    headings, row = (_WIDE, _wide_row) if wide else (_NARROW, _row)
    empty = "no offer fits; ask for less"
    print_table(headings, map(row, found), keep=_WHOLE, fold=("ID", "GPU"), empty=empty, wide=wide)


def _refuse_options_before(ctx: click.Context) -> None:
    """Options of the list say nothing to a command behind it; left alone they would be lost without a word."""
    for param in ctx.command.params:
        if param.expose_value and ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"write {param.opts[0]} after `{ctx.invoked_subcommand}`")


@offers.command("rank")
@filters
@click.option("--template", default="", metavar="ID", help="That can run this template; see `gpuplane templates`.")
@click.option("--limit", type=click.IntRange(min=1, max=1000), default=20, show_default=True, help="At most so many.")
def rank_(template: str, limit: int, **wanted: Any) -> None:
    """Show which offers a create would try, in which order, and why not others. Nothing is bought."""
    from gpuplane.v1.offer_service_pb2 import RankOffersRequest

    from controlplane.cli.output import print_json, print_table
    from controlplane.cli.values import format_hourly

    wanted["count"] = count_to_rent(wanted["gpu"], wanted["count"])
    request = RankOffersRequest(requirements=requirements(**wanted), template_id=template, page_size=limit)
    with connect() as client:
        answer = client.offers.RankOffers(request)
    if common().json:
        print_json(answer)
        return
    rows = [(*_row(each.offer)[:-1], format_hourly(each.expected_price_per_hour)) for each in answer.candidates]
    headings = (*_NARROW[:-1], "EXPECTED")
    print_table(headings, rows, keep=(*_WHOLE, "EXPECTED"), fold=("ID", "GPU"), empty="no offer would be tried")
    for each in answer.skipped:
        click.echo(f"skipped {each.count}: {each.reason}, such as {each.offer_id}", err=True)


@click.command(cls=ApiCommand)
@click.option("--gpu", default="", metavar="NAME", help="Only of this GPU type, e.g. H100.")
@click.option("--provider", default="", help="Only at this provider.")
def prices(gpu: str, provider: str) -> None:
    """Show what one GPU of each type costs, by provider and tier."""
    from gpuplane.v1.offer_pb2 import Tier
    from gpuplane.v1.offer_service_pb2 import ListPricesRequest

    from controlplane.cli.output import print_json, print_table, word
    from controlplane.cli.values import format_hourly

    with connect() as client:
        found = client.offers.ListPrices(ListPricesRequest(gpu_type=gpu, provider=provider)).prices
    if common().json:
        print_json(list(found))
        return
    rows = [
        (
            row.gpu_type,
            row.provider,
            word(Tier, row.tier),
            str(row.offer_count),
            str(row.available),
            format_hourly(row.lowest_price_per_hour),
            format_hourly(row.median_price_per_hour),
            format_hourly(row.highest_price_per_hour),
        )
        for row in found
    ]
    headings = ("GPU", "PROVIDER", "TIER", "OFFERS", "FREE", "FROM", "MEDIAN", "TO")
    print_table(headings, rows, keep=headings, empty="nobody offers that now")


@click.command(cls=ApiCommand)
@click.option("--vendor", default="", help="Only of this maker: NVIDIA, AMD or Intel.")
@click.option("--all", "-a", "unoffered", is_flag=True, help="Also types that nobody offers now.")
def gpus(vendor: str, unoffered: bool) -> None:
    """List GPU types with how many are offered and from what price."""
    from gpuplane.v1.offer_service_pb2 import ListGpuTypesRequest

    from controlplane.cli.output import print_json, print_table
    from controlplane.cli.values import format_hourly

    with connect() as client:
        request = ListGpuTypesRequest(vendor=vendor, offered_only=not unoffered)
        found = client.offers.ListGpuTypes(request).gpu_types
    if common().json:
        print_json(list(found))
        return
    rows = [
        (
            gpu.name,
            gpu.vendor,
            gpu.architecture,
            f"{gpu.vram_gb} GB",
            str(gpu.offer_count),
            format_hourly(gpu.lowest_price_per_hour) if gpu.HasField("lowest_price_per_hour") else "-",
        )
        for gpu in found
    ]
    headings = ("GPU", "VENDOR", "ARCHITECTURE", "VRAM", "OFFERS", "ONE FROM")
    print_table(headings, rows, keep=headings, empty="nobody offers a GPU now; --all shows the types known")


def count_to_rent(gpu: Sequence[str], count: int | None) -> int:
    """How many GPUs a machine to rent must have; 0 for any number.

    Who names a GPU and no number means one: else, once the single ones are gone, a machine with eight would be rented.
    """
    if count is None:
        return 1 if gpu and "cpu" not in map(str.lower, gpu) else 0
    return count


def requirements(
    *,
    gpu: Sequence[str] = (),
    count: int | None = None,
    region: Sequence[str] = (),
    tier: str | None = None,
    min_vram: int | None = None,
    min_reliability: float | None = None,
    min_confidence: float | None = None,
    vendor: Sequence[str] = (),
    location: Sequence[str] = (),
    provider: Sequence[str] = (),
    max_price: Any = None,
) -> Any:
    """Filter options as the API takes them."""
    from gpuplane.v1.offer_pb2 import Tier
    from gpuplane.v1.offer_service_pb2 import Requirements

    from controlplane.cli.output import from_word

    return Requirements(
        gpu_types=gpu,
        gpu_count=count or 0,
        min_vram_gb=min_vram or 0,
        regions=region,
        tier=from_word(Tier, tier),
        providers=provider,
        min_reliability=min_reliability or 0,
        min_confidence=min_confidence or 0,
        vendors=vendor,
        locations=location,
        max_price_per_hour=max_price,
    )


_NARROW = ("ID", "GPU", "REGION", "PRICE", "SURE", "NOTE")
_WHOLE = ("REGION", "PRICE", "SURE", "NOTE")
_WIDE = (*_NARROW[:-1], "SEEN", "VRAM", "CPUS", "MEMORY", "DISK", "FREE", "RELIABLE", "LOCATION", "NOTE")


def _row(offer: Any) -> tuple[str, ...]:
    from gpuplane.v1.offer_pb2 import OFFER_FRESHNESS_STALE, TIER_SPOT

    from controlplane.cli.show import gpu
    from controlplane.cli.values import format_hourly

    notes = [
        "spot" if offer.tier == TIER_SPOT else "",
        "stale" if offer.freshness == OFFER_FRESHNESS_STALE else "",
        "simulated" if offer.simulated else "",
    ]
    return (
        offer.id,
        gpu(offer.gpu_type, offer.gpu_count),
        offer.region or "-",
        format_hourly(offer.price_per_hour),
        f"{offer.confidence:.0%}",
        " ".join(filter(None, notes)),
    )


def _wide_row(offer: Any) -> tuple[str, ...]:
    from gpuplane.v1.offer_pb2 import OfferFreshness

    from controlplane.cli.output import word

    *front, note = _row(offer)
    return (
        *front,
        word(OfferFreshness, offer.freshness),
        f"{offer.vram_gb}G" if offer.vram_gb else "-",
        str(offer.cpu_count),
        f"{offer.memory_gb}G",
        f"{offer.disk_gb}G",
        str(offer.available),
        f"{offer.reliability:.3f}" if offer.HasField("reliability") else "-",
        offer.location or "-",
        note,
    )
