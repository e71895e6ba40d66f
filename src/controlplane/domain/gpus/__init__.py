"""GPUs: what we know of each, and how to find one by any of its names."""

from __future__ import annotations

from controlplane.domain.gpus.model import Gpu, GpuTier, Segment, Vendor
from controlplane.domain.gpus.normalise import matching, normalise
from controlplane.domain.gpus.table import GPUS

__all__ = ["GPUS", "Gpu", "GpuTier", "Segment", "Vendor", "gpu", "matching", "normalise"]

_BY_NAME_OR_SLUG = {key: gpu for gpu in GPUS for key in (gpu.name, gpu.slug)}


def gpu(name: str) -> Gpu | None:
    """The GPU of exactly this canonical name or slug; `normalise` reads all other spellings."""
    return _BY_NAME_OR_SLUG.get(name)
