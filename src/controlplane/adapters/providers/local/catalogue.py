"""What is offered: this host as it is, and on request pretend GPUs at market-like prices."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.adapters.providers.local.gpus import GpuKind
from controlplane.adapters.providers.local.settings import LocalSettings
from controlplane.domain.gpus import GPUS, Gpu
from controlplane.domain.offer import Offer, Tier

PROVIDER = "local"
CPU_OFFER = f"{PROVIDER}-cpu"
_CENT = 10_000_000  # nano-units


@dataclass(frozen=True, slots=True)
class _Pretend:
    """A pretend GPU kind; figures are for one GPU."""

    gpu: Gpu
    cents: int  # per hour, on demand, in North America
    cpus: int
    memory_gb: int


_FIGURES = {
    "H100 SXM": (249, 26, 225),
    "H200 SXM": (359, 24, 250),
    "A100 SXM4 80GB": (149, 30, 200),
    "L40S": (86, 16, 94),
    "RTX 4090": (44, 12, 62),
}
_PRETEND = tuple(_Pretend(known, *_FIGURES[known.name]) for known in GPUS if known.name in _FIGURES)
_COUNTS = (1, 2, 4, 8)
_REGIONS = {"na": ("Montreal, CA", 100), "eu": ("Helsinki, FI", 106), "apac": ("Tokyo, JP", 118)}  # percent
_TIERS = {Tier.ON_DEMAND: ("on-demand", 100, 0.995), Tier.SPOT: ("spot", 55, 0.93)}


def offers(settings: LocalSettings, kinds: tuple[GpuKind, ...], available: int, now: int) -> tuple[Offer, ...]:
    """Everything this host offers now."""
    real = _gpu_offers(settings, kinds, available, now) if kinds else (_cpu_offer(settings, available, now),)
    return (*real, *_pretend_offers(settings, available, now)) if settings.simulated else real


def _cpu_offer(settings: LocalSettings, available: int, now: int) -> Offer:
    return _offer(settings, CPU_OFFER, now, available=available, price=settings.cpu_price_nano_per_hour)


def _gpu_offers(settings: LocalSettings, kinds: tuple[GpuKind, ...], available: int, now: int) -> tuple[Offer, ...]:
    return tuple(
        _offer(
            settings,
            f"{PROVIDER}-{kind.slug}-{count}x",
            now,
            available=min(available, len(kind.free) // count),
            price=settings.gpu_price_nano_per_hour * count,
            gpu_type=kind.gpu_type,
            gpu_count=count,
            vram_gb=kind.vram_gb,
            cuda_version=kind.cuda_version,
        )
        for kind in kinds
        for count in range(1, kind.total + 1)
    )


def _pretend_offers(settings: LocalSettings, available: int, now: int) -> tuple[Offer, ...]:
    return tuple(
        _offer(
            settings,
            f"{PROVIDER}-{kind.gpu.slug}-{count}x-{region}-{tier_slug}",
            now,
            available=available,
            price=kind.cents * count * _CENT * region_percent * tier_percent // 10_000,
            gpu_type=kind.gpu.name,
            gpu_count=count,
            vram_gb=kind.gpu.vram_gb,
            cpu_count=kind.cpus * count,
            memory_gb=kind.memory_gb * count,
            region=region,
            location=f"{location} (simulated)",
            tier=tier,
            reliability=reliability,
            cuda_version=12.8,
            simulated=True,
        )
        for kind in _PRETEND
        for count in _COUNTS
        for region, (location, region_percent) in _REGIONS.items()
        for tier, (tier_slug, tier_percent, reliability) in _TIERS.items()
    )


def _offer(
    settings: LocalSettings,
    offer_id: str,
    now: int,
    *,
    available: int,
    price: int,
    gpu_type: str = "cpu",
    gpu_count: int = 0,
    vram_gb: int = 0,
    cpu_count: int = 0,
    memory_gb: int = 0,
    region: str = "",
    location: str = "this host",
    tier: Tier = Tier.ON_DEMAND,
    reliability: float | None = None,
    cuda_version: float | None = None,
    simulated: bool = False,
) -> Offer:
    return Offer(
        id=offer_id,
        provider=PROVIDER,
        gpu_type=gpu_type,
        gpu_count=gpu_count,
        vram_gb=vram_gb,
        cpu_count=cpu_count or settings.machine_cpus,
        memory_gb=memory_gb or max(1, settings.machine_memory_mb >> 10),
        disk_gb=settings.max_disk_gb,
        region=region,
        location=location,
        tier=tier,
        price_nano_per_hour=price,
        currency="USD",
        available=max(0, available),
        seen_at=now,
        reliability=reliability,
        cuda_version=cuda_version,
        simulated=simulated,
        host_id=settings.host_id,
    )
