"""Locations of TensorDock as offers: one per location, GPU and number of GPUs.

Inventory names a GPU and what can be put beside it; the shape of the machine is the buyer's choice. Offers show the
shape of `_VCPUS` and `_RAM_GB` for each GPU, as far as the location allows, with the smallest disk; a larger disk is
priced at the purchase. What the list calls available often is not (providers.md section 3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from controlplane.adapters.providers.http.regions import region_of
from controlplane.adapters.providers.http.values import decimal, natural, price, text
from controlplane.domain.gpus import normalise
from controlplane.domain.money import nano
from controlplane.domain.offer import Offer, Tier

PROVIDER = "tensordock"
LEAST_STORAGE_GB = 100  # of any machine [providers.md 3]

_COUNTS = (1, 2, 4, 8)
_VCPUS, _VCPU_STEP = 8, 2  # steps in which a machine can be changed later
_RAM_GB, _RAM_STEP_GB = 32, 8
_MOST = 1_000_000  # of anything counted: beyond lies nonsense
_LOCATION_ID = re.compile(r"[A-Za-z0-9-]{1,48}")
_GPU_NAME = re.compile(r"[A-Za-z0-9._-]{1,60}")
_NAMED_GB = re.compile(r"(\d{1,4})gb$")


@dataclass(frozen=True, slots=True)
class Placement:
    """An offer, and what its purchase says."""

    offer: Offer
    location_id: str
    gpu: str  # TensorDock's own name, "geforcertx4090-pcie-24gb"
    hourly: Decimal  # dollars, without storage
    hourly_per_gb: Decimal  # of storage

    def is_smaller_than(self, offer: Offer) -> bool:
        """Whether its machine has less than the offer promises: its shape follows what the location has left."""
        return self.offer.cpu_count < offer.cpu_count or self.offer.memory_gb < offer.memory_gb

    def price_nano(self, storage_gb: int) -> int:
        """Nano-dollars per hour with that much storage."""
        return nano(self.hourly + storage_gb * self.hourly_per_gb)


@dataclass(frozen=True, slots=True)
class _Gpu:
    """One GPU kind at one location, as listed."""

    name: str
    shown: str
    most: int
    hourly: Decimal
    vcpus: int
    ram_gb: int
    storage_gb: int
    per_vcpu: Decimal
    per_ram_gb: Decimal
    per_storage_gb: Decimal


def placements(locations: list[Any], now: int) -> tuple[dict[str, Placement], int]:
    """What the locations offer, by offer id, and how many entries made no sense and were left out."""
    found: dict[str, Placement] = {}
    absurd = 0
    for location in locations:
        gpus = location.get("gpus") if isinstance(location, dict) else None
        if not isinstance(gpus, list) or not _LOCATION_ID.fullmatch(text(location.get("id"))):
            absurd += 1
            continue
        for row in gpus:
            gpu = _gpu(row)
            if gpu is None:
                absurd += 1
            elif _reachable(row):
                found.update((p.offer.id, p) for p in _ladder(location, gpu, now))
    return found, absurd


def _reachable(row: dict[str, Any]) -> bool:
    """Whether its machines can have an address of their own. Forwarded ports can only be chosen on a known node."""
    features = row.get("network_features")
    return not isinstance(features, dict) or features.get("dedicated_ip_available") is not False


def _gpu(row: Any) -> _Gpu | None:
    if not isinstance(row, dict):
        return None
    resources, pricing = row.get("resources"), row.get("pricing")
    if not isinstance(resources, dict) or not isinstance(pricing, dict):
        return None
    name, most = text(row.get("v0Name")), natural(row.get("max_count"), _MOST)
    room = [natural(resources.get(f"max_{what}"), _MOST) for what in ("vcpus", "ram_gb", "storage_gb")]
    rates = [_rate(pricing.get(f"per_{what}_hr")) for what in ("vcpu", "gb_ram", "gb_storage")]
    hourly = decimal(row.get("price_per_hr"))
    if not _GPU_NAME.fullmatch(name) or most is None or hourly is None or price(hourly) is None:
        return None
    if None in room or None in rates:
        return None
    vcpus, ram_gb, storage_gb = (each or 0 for each in room)
    per_vcpu, per_ram_gb, per_storage_gb = (each or Decimal(0) for each in rates)
    shown = text(row.get("displayName")) or name
    return _Gpu(name, shown, most, hourly, vcpus, ram_gb, storage_gb, per_vcpu, per_ram_gb, per_storage_gb)


def _rate(value: Any) -> Decimal | None:
    """Of a part; it may cost nothing."""
    number = decimal(value)
    return number if number is not None and (number == 0 or price(number) is not None) else None


def _ladder(location: dict[str, Any], gpu: _Gpu, now: int) -> Iterator[Placement]:
    known = normalise(gpu.name) or normalise(gpu.shown)
    named = _NAMED_GB.search(gpu.name.lower())
    location_id = text(location.get("id"))
    country = text(location.get("country"))
    place = ", ".join(part for key in ("city", "stateprovince") if (part := text(location.get(key))))
    tier = natural(location.get("tier"), 10)
    for count in _COUNTS:
        vcpus = min(_VCPUS * count, gpu.vcpus) // _VCPU_STEP * _VCPU_STEP
        ram_gb = min(_RAM_GB * count, gpu.ram_gb) // _RAM_STEP_GB * _RAM_STEP_GB
        if count > gpu.most or not vcpus or not ram_gb or gpu.storage_gb < LEAST_STORAGE_GB:
            return
        hourly = count * gpu.hourly + vcpus * gpu.per_vcpu + ram_gb * gpu.per_ram_gb
        offer = Offer(
            id=f"{PROVIDER}-{location_id}-{gpu.name}-{count}", provider=PROVIDER,
            gpu_type=known.name if known else gpu.shown, gpu_count=count,
            vram_gb=known.vram_gb if known else int(named[1]) if named else 0,
            cpu_count=vcpus, memory_gb=ram_gb, disk_gb=gpu.storage_gb,
            region=region_of(country), location=", ".join(part for part in (place, country) if part),
            tier=Tier.ON_DEMAND, price_nano_per_hour=nano(hourly + LEAST_STORAGE_GB * gpu.per_storage_gb),
            currency="USD", available=gpu.most // count, seen_at=now, vendor_host=location_id,
            priced_disk_gb=LEAST_STORAGE_GB,
            disk_nano_per_gb_hour=nano(gpu.per_storage_gb) + 1 if gpu.per_storage_gb else 0,
            facts={} if tier is None else {"tier": float(tier)},
        )  # fmt: skip
        yield Placement(offer, location_id, gpu.name, hourly, gpu.per_storage_gb)
