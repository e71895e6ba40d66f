"""Requirements: a machine described without naming an offer, and the test of an offer against them."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.domain.offer import Offer, Tier


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
    preferred_regions: tuple[str, ...] = ()  # tried in this order, before price; any other region comes last

    def rank(self, offer: Offer) -> int:
        """The offer's place among those that meet the requirements; equals are tried by price."""
        order = self.preferred_regions
        return order.index(offer.region) if offer.region in order else len(order)

    def unmet_by(self, offer: Offer) -> str:
        """Why the offer does not do, in a few words; empty when it does."""
        checks = (
            (not self.gpu_types or offer.gpu_type in self.gpu_types, "another GPU type"),
            (not self.gpu_count or offer.gpu_count == self.gpu_count, "another number of GPUs"),
            (offer.vram_gb >= self.min_vram_gb, "too little GPU memory"),
            (not self.regions or offer.region in self.regions, "another region"),
            (self.simulated is None or offer.simulated is self.simulated, "simulated or not"),
            (self.tier is None or offer.tier is self.tier, "another tier"),
            (not self.providers or offer.provider in self.providers, "another provider"),
            ((offer.reliability or 0.0) >= self.min_reliability, "too unreliable"),
            (offer.cpu_count >= self.min_cpu_count, "too few CPUs"),
            (offer.memory_gb >= self.min_memory_gb, "too little memory"),
            ((offer.cuda_version or 0.0) >= self.min_cuda_version, "CUDA too old"),
            (
                self.max_price_nano_per_hour is None or offer.price_nano_per_hour <= self.max_price_nano_per_hour,
                "too dear",
            ),
        )
        return next((why for met, why in checks if not met), "")

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
            "price cap" if self.max_price_nano_per_hour is not None else "",
        ]
        return ", ".join(p for p in parts if p) or "anything"
