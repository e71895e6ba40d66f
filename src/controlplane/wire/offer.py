"""Offers and requirements between the domain and the canonical API."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from gpuplane.v1 import offer_pb2 as pb
from gpuplane.v1 import offer_service_pb2 as service_pb
from gpuplane.v1 import operation_pb2

from controlplane.domain.errors import invalid
from controlplane.domain.gpus import Gpu, gpu, matching
from controlplane.domain.offer import Offer, Tier
from controlplane.domain.operation import SkippedOffers
from controlplane.domain.requirements import Requirements
from controlplane.wire.common import duration, money, nano_of, number, timestamp
from controlplane.wire.instance import TIERS

_TIERS_BACK: dict[int, Tier | None] = {
    pb.TIER_UNSPECIFIED: None,
    pb.TIER_ON_DEMAND: Tier.ON_DEMAND,
    pb.TIER_SPOT: Tier.SPOT,
}
REGIONS = ("na", "eu", "apac")


def offer_message(offer: Offer, outlook: bytes = b"") -> pb.Offer:
    """The canonical message of an offer, with what `outlook` says of the moment."""
    return pb.Offer.FromString(offer_body(offer) + outlook)


def offer_body(offer: Offer) -> bytes:
    """The message of an offer without its outlook, serialized: what stays the same until the next refresh."""
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
        vendor_host=offer.vendor_host,
        reliability=offer.reliability,
        cuda_version=offer.cuda_version,
        max_duration=duration(offer.max_duration_s) if offer.max_duration_s else None,
        prepaid=duration(offer.prepaid_s) if offer.prepaid_s else None,
        standby_price_per_hour=(
            money(offer.standby_nano_per_hour, offer.currency) if offer.standby_nano_per_hour is not None else None
        ),
    )
    body: bytes = message.SerializeToString()
    return body


@lru_cache(4096)
def outlook(confidence: float, freshness: str) -> bytes:
    """What is appended to the body of an offer: serialized messages of one type may be joined, and so merge."""
    said: bytes = pb.Offer(
        confidence=confidence, freshness=number(pb.OfferFreshness, "OFFER_FRESHNESS", freshness)
    ).SerializeToString()
    return said


def gpu_type_message(known: Gpu, offers: int, lowest_nano: int, currency: str) -> pb.GpuType:
    """A row of the table of GPUs; the price counts where there are offers."""
    fields: dict[str, Any] = {"class": known.tier}  # a keyword of Python
    return pb.GpuType(
        name=known.name,
        slug=known.slug,
        vendor=known.vendor,
        architecture=known.architecture,
        vram_gb=known.vram_gb,
        offer_count=offers,
        lowest_price_per_hour=money(lowest_nano, currency) if offers else None,
        **fields,
    )


def skipped_message(skipped: SkippedOffers) -> operation_pb2.SkippedOffers:
    """Offers that were not tried, and why."""
    return operation_pb2.SkippedOffers(reason=skipped.reason, count=skipped.count, offer_id=skipped.offer_id)


def gpu_names(spellings: Iterable[str], field: str) -> tuple[str, ...]:
    """The canonical names that any spellings mean."""
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
    _check(request, field)
    capped = request.HasField("max_price_per_hour")
    return Requirements(
        gpu_types=gpu_names(request.gpu_types, f"{field}.gpu_types"),
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
        vendors=tuple(vendor.lower() for vendor in request.vendors),
        locations=tuple(location.lower() for location in request.locations),
        min_gpu_count=request.min_gpu_count,
        min_confidence=request.min_confidence,
    )


_MOST = {
    "gpu_count": 64, "min_gpu_count": 64, "min_vram_gb": 10_000, "min_cpu_count": 10_000, "min_memory_gb": 100_000,
    "min_reliability": 1, "min_confidence": 1, "min_cuda_version": 1000,
}  # fmt: skip


def _check(request: service_pb.Requirements, field: str) -> None:
    for name in ("gpu_types", "regions", "providers", "vendors", "locations"):
        if len(getattr(request, name)) > 16:
            raise invalid(f"{field}.{name}", "must have at most 16 entries", len(getattr(request, name)))
    for name, most in _MOST.items():
        if not 0 <= getattr(request, name) <= most:
            raise invalid(f"{field}.{name}", f"must be from 0 to {most}", getattr(request, name))
    for region in request.regions:
        if region not in REGIONS:
            raise invalid(f"{field}.regions", f"must be among {', '.join(REGIONS)}", region)
