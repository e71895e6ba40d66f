"""Requirements: a machine described without naming an offer (usecases/offer_match.py tests offers against them)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controlplane.domain.offer import Tier


@dataclass(frozen=True, slots=True)
class Requirements:
    """Every field set narrows the choice. `gpu_types` holds canonical names (domain.gpus resolves spellings)."""

    gpu_types: tuple[str, ...] = ()
    gpu_count: int = 0
    min_vram_gb: int = 0
    regions: tuple[str, ...] = ()
    tier: Tier | None = None
    providers: tuple[str, ...] = ()
    min_reliability: float = 0.0
    min_cpu_count: int = 0
    min_memory_gb: int = 0
    min_cuda_version: float = 0.0
    max_price_nano_per_hour: int | None = None
    simulated: bool | None = None  # only pretended hardware, or none of it
    vendors: tuple[str, ...] = ()  # of the GPU, in lower case
    locations: tuple[str, ...] = ()  # parts of the provider's own words, in lower case; one of them is enough
    min_gpu_count: int = 0
    min_confidence: float = 0.0  # that the offer can still be had
    preferred_regions: tuple[str, ...] = ()  # tried in this order, before price; any other region comes last
    preferred_offer: str = ""  # tried before all others, if it meets the rest

    def to_rent(self) -> Requirements:
        """As a purchase reads them: a machine that may be taken back is lent only to those who ask for one."""
        return self if self.tier is not None else replace(self, tier=Tier.ON_DEMAND)

    def __str__(self) -> str:
        parts = [
            f"gpu {'/'.join(self.gpu_types)}" if self.gpu_types else "",
            f"count {self.gpu_count}" if self.gpu_count else "",
            f"vram >= {self.min_vram_gb} GB" if self.min_vram_gb else "",
            f"region {'/'.join(self.regions)}" if self.regions else "",
            f"tier {self.tier}" if self.tier else "",
            f"provider {'/'.join(self.providers)}" if self.providers else "",
            f"reliability >= {self.min_reliability}" if self.min_reliability else "",
            f"cpus >= {self.min_cpu_count}" if self.min_cpu_count else "",
            f"memory >= {self.min_memory_gb} GB" if self.min_memory_gb else "",
            f"cuda >= {self.min_cuda_version}" if self.min_cuda_version else "",
            "simulated" if self.simulated else "",
            f"vendor {'/'.join(self.vendors)}" if self.vendors else "",
            f"location {'/'.join(self.locations)}" if self.locations else "",
            f"count >= {self.min_gpu_count}" if self.min_gpu_count else "",
            f"confidence >= {self.min_confidence}" if self.min_confidence else "",
            "price cap" if self.max_price_nano_per_hour is not None else "",
        ]
        return ", ".join(p for p in parts if p) or "anything"
