"""The GPU catalogue: an SKU for every GPU we know, such as `h200-141`, and which offers a request for one means.

Nobody has published the vendor's list: `h200-141` is the only SKU seen (seed 002). Ours follow its pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from controlplane.domain.errors import FailedPrecondition, invalid
from controlplane.domain.gpus import GPUS, gpu
from controlplane.domain.offer import Offer, Tier
from controlplane.domain.requirements import Requirements

CPU = "cpu"  # the SKU, and the GPU type, of a machine without GPU

GPU_COUNTS = (1, 2, 4, 8)

_NEAREST = {"na": ("na", "eu", "apac"), "eu": ("eu", "na", "apac"), "apac": ("apac", "na", "eu")}
"""Pools by their distance from each."""

POOLS = tuple(_NEAREST)

_HERE = ("",)  # this host belongs to no pool, and is nearer than any

# What the vendor leaves out: the socket that a model comes in by default, and the memory, which stands at the end.
_UNSAID = re.compile(r" SXM\d?| \d+GB")


def sku_of(gpu_type: str, vram_gb: int) -> str:
    """The SKU of a canonical GPU type: its name and the memory of one GPU."""
    if gpu_type == CPU:
        return CPU
    known = gpu(gpu_type)
    name = re.sub(r"[^a-z0-9]+", "-", _UNSAID.sub("", gpu_type).lower()).strip("-")
    return f"{name}-{known.vram_gb if known else vram_gb}"


_TYPES = {sku_of(known.name, known.vram_gb): known.name for known in GPUS} | {CPU: CPU}


def gpu_type_of(sku: str, offers: Iterable[Offer]) -> str:
    """The GPU type that an SKU means. Offers may hold types that our table does not."""
    found = _TYPES.get(sku) or next((o.gpu_type for o in offers if sku_of(o.gpu_type, o.vram_gb) == sku), "")
    if not found:
        rule = "must be an SKU of the GPU catalogue, such as h200-141" if sku else "is required"
        raise invalid("sku", rule, sku)
    return found


def check_gpus(gpus: int, sku: str, gpu_type: str, offers: Iterable[Offer]) -> int:
    """The number of GPUs as offers count them. An SKU that nobody offers now exposes no configuration to break."""
    if gpus not in GPU_COUNTS:
        raise invalid("gpus", f"must be one of {', '.join(map(str, GPU_COUNTS))}", gpus)
    exposed = {max(1, o.gpu_count) for o in offers if o.gpu_type == gpu_type}
    if exposed and gpus not in exposed:
        shown = ", ".join(str(count) for count in sorted(exposed & set(GPU_COUNTS))) or "none"
        raise invalid("gpus", f"must be a configuration of {sku}, which are: {shown}", gpus)
    return 0 if gpu_type == CPU else gpus


def requirements(
    gpu_type: str, gpu_count: int, *, pool: str, widen: bool, nearest: str, simulated: bool | None
) -> Requirements:
    """What to look for. A pool is strict unless it may be widened; without one the nearest is tried first, and
    `nearest` says which that is. Machines that may be taken back are not Hoonify's."""
    if pool and pool not in POOLS:
        raise invalid("pool", f"must be one of {', '.join(POOLS)}", pool)
    return Requirements(
        gpu_types=(gpu_type,),
        gpu_count=gpu_count,
        tier=Tier.ON_DEMAND,
        regions=(pool,) if pool and not widen else (),
        preferred_regions=_NEAREST[pool] if pool else (*_HERE, *_NEAREST[nearest]),
        simulated=simulated,
    )


def check_capacity(sku: str, gpus: int, wanted: Requirements, matching: Iterable[Offer]) -> None:
    """Refuse what could only fail later: nothing that matches can be rented now."""
    if not any(offer.available > 0 for offer in matching):
        where = f"pool {wanted.regions[0]}" if wanted.regions else "any pool"
        raise FailedPrecondition(f"no capacity for {gpus}x {sku} in {where} now", reason="NO_MATCHING_OFFER")
