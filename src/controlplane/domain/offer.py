"""What can be rented now: offers, and the requirements a caller may state instead of naming one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from controlplane.domain.metering import ProviderMeter


class Tier(StrEnum):
    """How firmly the marketplace lends the machine."""

    ON_DEMAND = "on_demand"
    SPOT = "spot"


@dataclass(frozen=True, slots=True)
class Offer:
    """One rentable thing at one provider, as last seen.

    `id` is `<provider>-<vendor id>` in every API. Times are microseconds since the epoch (UTC), prices
    nano-units of `currency` per hour for the whole offer (all of its GPUs).
    """

    id: str
    provider: str
    gpu_type: str  # canonical name of domain.gpus, or "cpu"
    gpu_count: int  # 0 for a CPU offer
    vram_gb: int  # of one GPU
    cpu_count: int
    memory_gb: int
    disk_gb: int  # the most that may be asked for
    region: str  # "na", "eu", "apac" or ""
    location: str  # the provider's own words
    tier: Tier
    price_nano_per_hour: int
    currency: str
    available: int  # units that could be rented now
    seen_at: int
    reliability: float | None = None  # 0..1
    cuda_version: float | None = None
    max_duration_s: int = 0  # 0: no limit known
    simulated: bool = False  # pretend hardware; said wherever the offer shows
    host_id: str = ""  # local provider: the host that would run it
    vendor_host: str = ""  # the marketplace's stable name of the host or site, which outlives offer ids
    start_deadline_s: int = 0  # from Created to usable for machines of this class; 0: the provider's default
    prepaid_s: int = 0  # the provider takes money for this long at a time; 0: it bills as time passes
    standby_nano_per_hour: int | None = None  # while it exists and does not run; None: the full price
    priced_disk_gb: int = 0  # the disk that the price includes
    disk_nano_per_gb_hour: int = 0  # what every GB above that costs at most
    facts: Mapping[str, float | str | bool] = field(default_factory=dict)  # in the vendor's words, for templates

    def with_disk(self, disk_gb: int) -> Offer:
        """As it costs with a disk of that size; no less than shown."""
        more = max(0, disk_gb - self.priced_disk_gb) * self.disk_nano_per_gb_hour
        if not more:
            return self
        standby = None if self.standby_nano_per_hour is None else self.standby_nano_per_hour + more
        return replace(self, price_nano_per_hour=self.price_nano_per_hour + more, standby_nano_per_hour=standby)

    @property
    def meter(self) -> ProviderMeter | None:
        """What a machine of it will cost by, where that is not simply its price as long as it exists."""
        if self.standby_nano_per_hour is None and not self.prepaid_s:
            return None
        return ProviderMeter(self.price_nano_per_hour, 0, self.standby_nano_per_hour, prepaid_s=self.prepaid_s)
