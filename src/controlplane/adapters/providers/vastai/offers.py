"""Search results of Vast.ai as offers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from controlplane.adapters.providers.http import values
from controlplane.adapters.providers.http.regions import region_of
from controlplane.domain import gpus
from controlplane.domain.money import NANO
from controlplane.domain.offer import Offer, Tier

PROVIDER = "vastai"
LIMIT = 10_000  # rows; the marketplace shows a few thousand, and there is no paging
BID_MARGIN = Decimal("1.2")
"""What we bid for an interruptible machine, times the least bid: at the least one the next bidder takes it away."""

_SPOT_SUFFIX = "-spot"
_HOURS_PER_MONTH = 30 * 24  # the month of storage prices
_ROWS_AT_ONCE = 100
_MB = 1024
_MOST_GPUS, _MOST_CPUS, _MOST_MB, _MOST_GB = 64, 4096, 64 << 20, 1 << 20
_LONGEST_S = 10 * 365 * 86_400
_LEAST_BID = Decimal("0.001")

# Pulling an image takes longer where the line is slow, and large machines start late; in seconds.
_SLOW_START_S = 1800
_SLOW_LINE_MBIT = 100
_MANY_GPUS = 8

_NUMBERS = (
    "cuda_max_good", "compute_cap", "gpu_ram", "gpu_total_ram", "num_gpus", "gpu_frac", "cpu_cores",
    "cpu_cores_effective", "cpu_ram", "disk_space", "disk_bw", "inet_up", "inet_down", "direct_port_count",
    "reliability2", "reliability", "score", "dlperf", "duration", "storage_cost", "machine_id", "host_id",
)  # fmt: skip
_WORDS = ("gpu_name", "driver_version", "verification", "hosting_type", "static_ip", "cpu_arch", "rentable", "rented")


@dataclass(frozen=True, slots=True)
class Price:
    """What an offer costs, in nano-units per hour. `bid` is None for on-demand machines."""

    gpu: int
    storage: int
    bid: int | None = None
    least_bid: int | None = None

    @property
    def total(self) -> int:
        """While the machine runs."""
        return self.gpu + self.storage


def search(tier: Tier, disk_gb: int, ask_ids: Iterable[str] = ()) -> dict[str, Any]:
    """The body of a search for everything that can be rented, or for these offers. The server's default filters are
    stated: defaults change."""
    filters: dict[str, Any] = {
        "verified": {"eq": True}, "rentable": {"eq": True}, "rented": {"eq": False},
        "type": "bid" if tier is Tier.SPOT else "on-demand", "order": [["dph_total", "asc"]],
        "limit": LIMIT, "allocated_storage": disk_gb,
    }  # fmt: skip
    ids = [int(ask_id) for ask_id in ask_ids]
    return {**filters, "id": {"in": ids}} if ids else filters


def offer_id(ask_id: str, tier: Tier) -> str:
    """Our id of an offer."""
    return f"{PROVIDER}-{ask_id}{_SPOT_SUFFIX if tier is Tier.SPOT else ''}"


def parse_offer_id(text: str) -> tuple[str, Tier] | None:
    """The vendor's id and the tier of one of our ids; None for anything else."""
    rest = text.removeprefix(f"{PROVIDER}-")
    ask_id = rest.removesuffix(_SPOT_SUFFIX)
    if rest == text or not (ask_id.isascii() and ask_id.isdigit()):
        return None
    return ask_id, Tier.SPOT if rest != ask_id else Tier.ON_DEMAND


def ask_id_of(row: Any) -> str:
    """The vendor's id of a row; empty if it has none."""
    found = values.natural(row.get("ask_contract_id") or row.get("id"), 10**15) if isinstance(row, dict) else None
    return str(found) if found else ""


def price_of(row: Mapping[str, Any], tier: Tier, disk_gb: int) -> Price | None:
    """What the row's machine costs with this disk; None if the row does not tell or tells nonsense."""
    per_gb_month = values.decimal(row.get("storage_cost", 0))
    if per_gb_month is None or not 0 <= per_gb_month <= 1000:
        return None
    storage = int(per_gb_month * disk_gb * NANO / _HOURS_PER_MONTH)
    if tier is Tier.ON_DEMAND:
        base = values.price(row.get("dph_base"))
        return None if base is None else Price(base, storage)
    least = values.price(row.get("min_bid"))
    if least is None:
        return None
    bid = int((Decimal(least) / NANO * BID_MARGIN).quantize(_LEAST_BID, rounding="ROUND_UP") * NANO)
    return Price(bid, storage, bid, least)


async def parse(rows: list[Any], tier: Tier, disk_gb: int, now: int) -> tuple[dict[str, Offer], int]:
    """Offers by id, and how many rows were no offers. Rows come twice now and then; the loop is not held up."""
    found: dict[str, Offer] = {}
    odd = 0
    for number, row in enumerate(rows):
        if number % _ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)
        offer = offer_of(row, tier, disk_gb, now)
        if offer is None:
            odd += 1
        else:
            found[offer.id] = offer
    return found, odd


def offer_of(row: Any, tier: Tier, disk_gb: int, now: int) -> Offer | None:
    """The offer that a row is; None for a row that nobody could rent by."""
    ask_id = ask_id_of(row)
    price = price_of(row, tier, disk_gb) if ask_id else None
    count = values.natural(row.get("num_gpus"), _MOST_GPUS) if ask_id else None
    vram_mb = values.natural(row.get("gpu_ram"), _MOST_MB) if ask_id else None
    name = values.text(row.get("gpu_name"), 60) if ask_id else ""
    if price is None or not count or not vram_mb or not name:
        return None
    known = gpus.normalise(name, vram_gb=vram_mb / _MB)
    cpus, memory_gb = _share(row)
    location = values.text(row.get("geolocation"), 80).strip(", ")
    line = values.decimal(row.get("inet_down"))
    slow = count >= _MANY_GPUS or (line is not None and line < _SLOW_LINE_MBIT)
    return Offer(
        id=offer_id(ask_id, tier), provider=PROVIDER, gpu_type=known.name if known else name, gpu_count=count,
        vram_gb=known.vram_gb if known else max(1, round(vram_mb / _MB)), cpu_count=cpus, memory_gb=memory_gb,
        disk_gb=values.natural(row.get("disk_space"), _MOST_GB) or 0, region=region_of(location[-2:]),
        location=location, tier=tier, price_nano_per_hour=price.total, currency="USD", available=1, seen_at=now,
        reliability=_fraction(row.get("reliability2", row.get("reliability"))),
        cuda_version=_positive(row.get("cuda_max_good"), 100),
        max_duration_s=values.natural(row.get("duration"), _LONGEST_S) or 0,
        vendor_host=str(values.natural(row.get("machine_id"), 10**15) or ""),
        start_deadline_s=_SLOW_START_S if slow else 0, standby_nano_per_hour=price.storage,
        priced_disk_gb=disk_gb, disk_nano_per_gb_hour=price.storage // disk_gb + 1 if price.storage else 0,
        facts=_facts(row),
    )  # fmt: skip


def _share(row: Mapping[str, Any]) -> tuple[int, int]:
    """Processors and memory (GB) of the offer: rows tell the memory of the whole machine."""
    cores = values.decimal(row.get("cpu_cores"))
    effective = values.decimal(row.get("cpu_cores_effective"))
    fraction = values.decimal(row.get("gpu_frac"))
    memory_mb = values.natural(row.get("cpu_ram"), _MOST_MB) or 0
    if cores and effective and 0 < effective <= cores <= _MOST_CPUS:
        share = effective / cores
    else:
        share = fraction if fraction is not None and 0 < fraction <= 1 else Decimal(1)
        effective = effective if effective and 0 < effective <= _MOST_CPUS else Decimal(1)
    return max(1, int(effective)), max(1, int(memory_mb * share / _MB))


def _fraction(value: Any) -> float | None:
    number = values.decimal(value)
    return float(number) if number is not None and 0 <= number <= 1 else None


def _positive(value: Any, most: int) -> float | None:
    number = values.decimal(value)
    return float(number) if number is not None and 0 < number <= most else None


def _facts(row: Mapping[str, Any]) -> dict[str, float | str | bool]:
    """The fields that templates filter by, in the vendor's units."""
    facts: dict[str, float | str | bool] = {}
    for name in _NUMBERS:
        number = values.decimal(row.get(name))
        if number is not None:
            facts[name] = float(number)
    for name in _WORDS:
        value = row.get(name)
        if isinstance(value, bool):
            facts[name] = value
        elif isinstance(value, str):
            facts[name] = values.text(value, 80)
    facts["verified"] = facts.get("verification") == "verified"
    facts["geolocation"] = values.text(row.get("geolocation"), 80)[-2:]  # filters compare the country only
    return facts
