"""`gpuplane offers` and `gpuplane gpus`: the market."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from controlplane.cli.base import ApiCommand, common, connect
from controlplane.cli.values import MONEY

ORDERS = ("price_per_hour", "reliability", "vram_gb", "gpu_count")


F = TypeVar("F", bound=Callable[..., object])
_FILTERS = (
    click.option("--gpu", multiple=True, metavar="NAME", help="GPU type, e.g. H100; cpu for none. Repeatable."),
    click.option("--count", type=click.IntRange(min=1), help="Number of GPUs, exactly."),
    click.option("--min-vram", type=click.IntRange(min=1), metavar="GB", help="Least memory of one GPU."),
    click.option("--region", multiple=True, help="na, eu or apac. Repeatable."),
    click.option("--tier", type=click.Choice(["on-demand", "spot"]), help="How firmly the machine is lent."),
    click.option("--provider", multiple=True, help="Only from this provider. Repeatable."),
    click.option("--min-reliability", type=click.FloatRange(0, 1), help="Least reliability, 0 to 1."),
    click.option("--max-price", type=MONEY, help="At most this per hour for the machine, e.g. 0.50."),
)


def filters(command: F) -> F:
    """The options that say what kind of machine is wanted."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@click.command(cls=ApiCommand)
@filters
@click.option("--sort", type=click.Choice(ORDERS), default="price_per_hour", show_default=True, help="Order.")
@click.option("--desc", is_flag=True, help="Largest first.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--wide", "-w", is_flag=True, help="More columns than fit 100 characters.")
def offers(sort: str, desc: bool, limit: int, wide: bool, max_price: Any, **filters: Any) -> None:
    """List what can be rented now, cheapest first."""
    from gpuplane.v1.offer_service_pb2 import ListOffersRequest

    from controlplane.cli.output import print_json, print_table

    request = ListOffersRequest(
        requirements=requirements(max_price=max_price, **filters),
        page_size=min(limit, 1000),
        order_by=f"{sort} desc" if desc else sort,
    )
    with connect() as client:
        found = list(client.list_all(client.offers.ListOffers, request, limit=limit))
    if common().json:
        print_json(found)
        return
    headings, row = (_WIDE, _wide_row) if wide else (_NARROW, _row)
    empty = "no offer fits; ask for less"
    print_table(headings, map(row, found), keep=("ID", "PRICE", "NOTE"), empty=empty, wide=wide)


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


def requirements(
    *,
    gpu: Sequence[str] = (),
    count: int | None = None,
    region: Sequence[str] = (),
    tier: str | None = None,
    min_vram: int | None = None,
    min_reliability: float | None = None,
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
        max_price_per_hour=max_price,
    )


_NARROW = ("ID", "GPU", "VRAM", "REGION", "PRICE", "NOTE")
_WIDE = (*_NARROW[:-1], "CPUS", "MEMORY", "DISK", "FREE", "RELIABLE", "LOCATION", "NOTE")


def _row(offer: Any) -> tuple[str, ...]:
    from gpuplane.v1.offer_pb2 import TIER_SPOT

    from controlplane.cli.show import gpu
    from controlplane.cli.values import format_hourly

    notes = ["spot" if offer.tier == TIER_SPOT else "", "simulated" if offer.simulated else ""]
    return (
        offer.id,
        gpu(offer.gpu_type, offer.gpu_count),
        f"{offer.vram_gb}G" if offer.vram_gb else "-",
        offer.region or "-",
        format_hourly(offer.price_per_hour),
        " ".join(filter(None, notes)),
    )


def _wide_row(offer: Any) -> tuple[str, ...]:
    *front, note = _row(offer)
    return (
        *front,
        str(offer.cpu_count),
        f"{offer.memory_gb}G",
        f"{offer.disk_gb}G",
        str(offer.available),
        f"{offer.reliability:.3f}" if offer.HasField("reliability") else "-",
        offer.location or "-",
        note,
    )
