"""io.net's hardware as offers: one per kind of machine and location that has any left."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from controlplane.adapters.providers.http.regions import region_of
from controlplane.adapters.providers.http.values import decimal, natural, price, text
from controlplane.domain.gpus import normalise
from controlplane.domain.money import nano
from controlplane.domain.offer import Offer, Tier

PROVIDER = "ionet"
HOUR_S = 3600  # what is bought at a time
MOST_HOURS = 8760

_MOST_GPUS = 8  # of one machine [SDK]
_MOST = 10_000_000  # of anything counted: beyond lies nonsense
_ID = re.compile(rf"{PROVIDER}-(\d{{1,12}})-(\d)x-(\d{{1,12}})")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of machine, as listed: it is rented whole."""

    deploy_id: int
    gpus: int
    name: str
    per_gpu: Decimal  # dollars per hour
    vram_gb: int
    vcpus: int
    memory_gb: int
    storage_gb: int
    facts: dict[str, float | str | bool]

    @property
    def key(self) -> tuple[int, int]:
        """What tells kinds apart."""
        return self.deploy_id, self.gpus


@dataclass(frozen=True, slots=True)
class Order:
    """What an offer's id says is to be bought."""

    deploy_id: int
    gpus: int
    location_id: int


def order(offer_id: str) -> Order | None:
    """Of an id that `offer` made; None for others."""
    match = _ID.fullmatch(offer_id)
    return Order(int(match[1]), int(match[2]), int(match[3])) if match else None


def kinds(rows: list[Any]) -> tuple[tuple[Kind, ...], int]:
    """The kinds, once each though listed for several locations, and how many rows made no sense and were left out."""
    read = [_kind(row) for row in rows]
    found: dict[tuple[int, int], Kind] = {}
    for kind in read:
        if kind is not None:
            found.setdefault(kind.key, kind)
    return tuple(found.values()), read.count(None)


def offer(kind: Kind, location: Any, now: int) -> Offer | None:
    """The offer of a kind at a location of `/available-vms`; None if none is left there, or the row makes no sense."""
    if not isinstance(location, dict):
        return None
    location_id, left = natural(location.get("id"), _MOST), natural(location.get("available_replicas"), _MOST)
    if location_id is None or not left:
        return None
    known = normalise(kind.name, vram_gb=kind.vram_gb or None)
    country = text(location.get("iso2"))
    return Offer(
        id=f"{PROVIDER}-{kind.deploy_id}-{kind.gpus}x-{location_id}", provider=PROVIDER,
        gpu_type=known.name if known else kind.name, gpu_count=kind.gpus,
        vram_gb=kind.vram_gb or (known.vram_gb if known else 0), cpu_count=kind.vcpus, memory_gb=kind.memory_gb,
        disk_gb=kind.storage_gb, region=region_of(country), location=text(location.get("name")) or country,
        tier=Tier.ON_DEMAND, price_nano_per_hour=nano(kind.gpus * kind.per_gpu), currency="USD", available=left,
        seen_at=now, max_duration_s=MOST_HOURS * HOUR_S, vendor_host=f"{kind.deploy_id}@{location_id}",
        prepaid_s=HOUR_S, facts=kind.facts,
    )  # fmt: skip


def _kind(row: Any) -> Kind | None:
    """One row. Ids that are no numbers cannot be asked for stock or quoted [SDK], and so not be sold here."""
    if not isinstance(row, dict):
        return None
    deploy_id, per_gpu = natural(row.get("deploy_id"), _MOST), decimal(row.get("price"))
    gpus = natural(row.get("num_cards"), _MOST_GPUS)
    name = text(row.get("name"), 60)
    if deploy_id is None or not gpus or not name or per_gpu is None or price(per_gpu) is None:
        return None
    sizes = [natural(row.get(what) or 0, _MOST) for what in ("vram_per_card", "vcpu", "memory", "storage")]
    if None in sizes:
        return None
    vram_gb, vcpus, memory_gb, storage_gb = (size or 0 for size in sizes)
    facts: dict[str, float | str | bool] = {
        what: said for what in ("supplier", "interconnect") if (said := text(row.get(what), 60))
    }
    if isinstance(row.get("nvlink"), bool):
        facts["nvlink"] = row["nvlink"]
    return Kind(deploy_id, gpus, name, per_gpu, vram_gb, vcpus, memory_gb, storage_gb, facts)
