"""Real GPUs of this host, through NVML. Not verifiable without a GPU; the path without one is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pynvml

from controlplane.domain import gpus

_SHARED_DEVICES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")


@dataclass(frozen=True, slots=True)
class GpuKind:
    """GPUs of one type in this host, by their index."""

    gpu_type: str
    slug: str
    vram_gb: int
    cuda_version: float | None
    total: int
    free: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    index: int
    name: str
    vram_gb: int


def discover(taken: Callable[[], set[int]]) -> tuple[tuple[GpuKind, ...], str]:
    """GPU kinds without those `taken`, which is asked only if there are any; and why there are none."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return (), f"no NVIDIA GPU: {error}"
    try:
        found = [_describe(index) for index in range(pynvml.nvmlDeviceGetCount())]
        version = pynvml.nvmlSystemGetCudaDriverVersion_v2()  # 12080 is 12.8
    except pynvml.NVMLError as error:
        return (), f"NVIDIA GPUs cannot be read: {error}"
    finally:
        pynvml.nvmlShutdown()
    return _group(
        found, taken(), version // 1000 + version % 1000 / 100
    ), "" if found else "the NVIDIA driver sees no GPU"


def devices(indexes: Iterable[int]) -> tuple[str, ...]:
    """Device nodes of these GPUs."""
    own = [f"/dev/nvidia{index}" for index in indexes]
    return tuple(path for path in [*own, *_SHARED_DEVICES] if Path(path).exists()) if own else ()


def _describe(index: int) -> _Found:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    name = pynvml.nvmlDeviceGetName(handle)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total
    return _Found(index, name if isinstance(name, str) else name.decode(), round(memory / (1 << 30)))


def _group(found: list[_Found], taken: set[int], cuda: float) -> tuple[GpuKind, ...]:
    kinds = []
    for name, vram_gb in dict.fromkeys((gpu.name, gpu.vram_gb) for gpu in found):
        indexes = [gpu.index for gpu in found if (gpu.name, gpu.vram_gb) == (name, vram_gb)]
        known = gpus.normalise(name, vram_gb=vram_gb)
        gpu_type = known.name if known else name
        slug = known.slug if known else re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        free = tuple(index for index in indexes if index not in taken)
        kinds.append(GpuKind(gpu_type, slug, known.vram_gb if known else vram_gb, cuda, len(indexes), free))
    return tuple(kinds)
