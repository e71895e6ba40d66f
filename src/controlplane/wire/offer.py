"""Offers and requirements between the domain and the canonical API."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from gpuplane.v1 import offer_pb2 as pb
from gpuplane.v1 import offer_service_pb2 as service_pb

from controlplane.domain.errors import invalid
from controlplane.domain.gpus import gpu, matching
from controlplane.domain.offer import Offer, Tier
from controlplane.domain.requirements import Requirements
from controlplane.wire.common import money, nano_of, timestamp
from controlplane.wire.instance import TIERS

_TIERS_BACK: dict[int, Tier | None] = {
    pb.TIER_UNSPECIFIED: None,
    pb.TIER_ON_DEMAND: Tier.ON_DEMAND,
    pb.TIER_SPOT: Tier.SPOT,
}
REGIONS = ("na", "eu", "apac")


def offer_message(offer: Offer) -> pb.Offer:
    """The canonical message of an offer."""
    known = gpu(offer.gpu_type)
    message = pb.Offer(
        id=offer.id,
        provider=offer.provider,
        gpu_type=offer.gpu_type,
        gpu_count=offer.gpu_count,
        vram_gb=offer.vram_gb,
        vendor=known.vendor if known else "",
        architecture=known.architecture if known else "",
        cpu_count=offer.cpu_count,
        memory_gb=offer.memory_gb,
        disk_gb=offer.disk_gb,
        region=offer.region,
        location=offer.location,
        tier=TIERS[offer.tier.value],
        price_per_hour=money(offer.price_nano_per_hour, offer.currency),
        available=offer.available,
        simulated=offer.simulated,
        seen_time=timestamp(offer.seen_at),
    )
    if offer.reliability is not None:
        message.reliability = offer.reliability
    if offer.cuda_version is not None:
        message.cuda_version = offer.cuda_version
    if offer.max_duration_s:
        message.max_duration.CopyFrom(Duration(seconds=offer.max_duration_s))
    return message


def _gpu_names(spellings: list[str], field: str) -> tuple[str, ...]:
    names: list[str] = []
    for index, spelling in enumerate(spellings):
        found = ("cpu",) if spelling.lower() == "cpu" else tuple(g.name for g in matching(spelling))
        if not found:
            raise invalid(f"{field}[{index}]", "must be a GPU type, see `gpuplane gpus`, or `cpu`", spelling)
        names += found
    return tuple(names)


def tier_of(number: int, field: str) -> Tier | None:
    """The tier of an enum number; None for any."""
    if number not in _TIERS_BACK:
        raise invalid(field, "must be TIER_ON_DEMAND, TIER_SPOT or unspecified", number)
    return _TIERS_BACK[number]


def requirements_of(request: service_pb.Requirements, currency: str, field: str = "requirements") -> Requirements:
    """The caller's requirements, checked; GPU spellings resolved to canonical names."""
    for name in ("gpu_types", "regions", "providers"):
        if len(getattr(request, name)) > 16:
            raise invalid(f"{field}.{name}", "must have at most 16 entries", len(getattr(request, name)))
    for name, most in (
        ("gpu_count", 64),
        ("min_vram_gb", 10_000),
        ("min_cpu_count", 10_000),
        ("min_memory_gb", 100_000),
    ):
        if not 0 <= getattr(request, name) <= most:
            raise invalid(f"{field}.{name}", f"must be from 0 to {most}", getattr(request, name))
    if not 0 <= request.min_reliability <= 1:
        raise invalid(f"{field}.min_reliability", "must be from 0 to 1", request.min_reliability)
    if not 0 <= request.min_cuda_version <= 1000:
        raise invalid(f"{field}.min_cuda_version", "must be from 0 to 1000", request.min_cuda_version)
    for region in request.regions:
        if region not in REGIONS:
            raise invalid(f"{field}.regions", f"must be among {', '.join(REGIONS)}", region)
    capped = request.HasField("max_price_per_hour")
    return Requirements(
        gpu_types=_gpu_names(list(request.gpu_types), f"{field}.gpu_types"),
        gpu_count=request.gpu_count,
        min_vram_gb=request.min_vram_gb,
        regions=tuple(request.regions),
        tier=tier_of(request.tier, f"{field}.tier"),
        providers=tuple(request.providers),
        min_reliability=request.min_reliability,
        min_cpu_count=request.min_cpu_count,
        min_memory_gb=request.min_memory_gb,
        min_cuda_version=request.min_cuda_version,
        max_price_nano_per_hour=(
            nano_of(request.max_price_per_hour, f"{field}.max_price_per_hour", currency) if capped else None
        ),
    )
