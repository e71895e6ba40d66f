"""This API's words for hardware, regions and tiers, and offers described by them (seed 003: they are free strings)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from controlplane.api.dialects.gpuai.errors import InvalidGpuType
from controlplane.domain.errors import invalid
from controlplane.domain.gpus import GPUS, gpu, matching
from controlplane.domain.offer import Offer, Tier

CPU = "cpu"
LOCAL = "local"  # the seed requires a region, and machines of the plane's own host have none
UNKNOWN = "unknown"  # nor have those whose marketplace does not say where they are
REGIONS = ("na", "eu", "apac", LOCAL, UNKNOWN)


def gpu_word(gpu_type: str) -> str:
    """`h100_sxm` of `H100 SXM`: lower case, as in the vendor's examples."""
    known = gpu(gpu_type)
    return (known.slug if known else re.sub(r"[^a-z0-9]+", "-", gpu_type.lower())).replace("-", "_")


_NAMES = {gpu_word(known.name): known.name for known in GPUS}


def gpu_types(word: str, offers: Iterable[Offer]) -> tuple[str, ...]:
    """What `word` may mean: one type for our own words, several for a family; raises InvalidGpuType.

    Offers may hold types that the table does not know.
    """
    if word.lower() == CPU:
        return (CPU,)
    exact = _NAMES.get(word) or next((o.gpu_type for o in offers if gpu_word(o.gpu_type) == word), "")
    found = (exact,) if exact else tuple(known.name for known in matching(word))
    if not found:
        shown = word if len(word) <= 100 else word[:100] + "..."
        rule = "must be among those of GET /gpu-types"
        raise InvalidGpuType(f"gpu_type {rule}; got {shown!r}", field="gpu_type", rule=rule, value=shown)
    return found


def region_word(region: str, provider: str) -> str:
    """The region as this API shows it."""
    return region or (LOCAL if provider == LOCAL else UNKNOWN)


def place_of(word: str, providers: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """The region that a word in any case means, and which of the providers have it there; none named: all. What
    `region_word` shows of an offer always finds that offer."""
    found = word.lower()
    if found not in REGIONS:
        raise invalid("region", f"must be among {', '.join(REGIONS)}", word)
    if found == LOCAL:
        return "", (LOCAL,)
    if found == UNKNOWN:
        # Without a marketplace nothing matches: no provider is called so.
        return "", tuple(name for name in providers if name != LOCAL) or (UNKNOWN,)
    return found, ()


def tier_of(word: str) -> Tier:
    """The tier that a word means."""
    if word not in (Tier.SPOT, Tier.ON_DEMAND):
        raise invalid("tier", "must be spot or on_demand", word)
    return Tier(word)


def gpu_count(count: int) -> int:
    """Number of GPUs as this API counts: a machine without GPU counts as one."""
    return max(1, count)
