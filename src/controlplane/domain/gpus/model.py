"""What a GPU is, and how a series of rows becomes GPUs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Vendor = Literal["NVIDIA", "AMD", "Intel"]
GpuTier = Literal["high-end", "mid-range", "entry"]
Segment = Literal["data-center", "workstation", "consumer"]

HIGH: GpuTier = "high-end"
MID: GpuTier = "mid-range"
LOW: GpuTier = "entry"

FORM_WORD = re.compile(r"pci[\W_]?e|sxm[2-6]?(?!\d)|nvl(?![a-z0-9])|oam")
_SIZE = re.compile(r" \d+GB$")


def form_of(word: str) -> str:
    """One of pcie, sxm, nvl, oam. The socket's generation is dropped: no model comes in two of them."""
    return "pcie" if word.startswith("pci") else word[:3]


@dataclass(frozen=True, slots=True)
class Gpu:
    """One rentable kind of GPU."""

    name: str  # canonical: what the API shows
    slug: str  # the same in [a-z0-9-], for ids and paths
    vendor: Vendor
    vram_gb: int  # marketing size of one GPU
    architecture: str
    tier: GpuTier
    segment: Segment
    compute_capability: tuple[int, int] | None  # NVIDIA only; a pair, so that 10.0 > 9.0
    aliases: tuple[str, ...]  # spellings that mean this GPU when nothing else is known
    form_factor: str  # as `form_of`, or "" if built into its host: then any word is accepted


@dataclass(frozen=True, slots=True)
class Series:
    """Rows that differ only in name, memory (GB), tier and irregular spellings (comma-separated)."""

    vendor: Vendor
    architecture: str
    capability: tuple[int, int] | None
    segment: Segment
    form: str  # unless the name says another
    brands: tuple[str, ...]  # what vendors and drivers write before the name
    rows: tuple[tuple[str, int, GpuTier, str], ...]
    short: bool = False  # the name without its first word is unmistakable too: "4090", "A6000", "B580"


def gpus_of(series: Series) -> Iterator[Gpu]:
    for name, gb, tier, irregular in series.rows:
        form = FORM_WORD.search(name.lower())
        spellings = dict.fromkeys(_regular_spellings(series, name, gb))
        spellings.update(dict.fromkeys(filter(None, irregular.split(", "))))
        spellings.pop(name, None)
        yield Gpu(
            name=name,
            slug=re.sub(r"[^a-z0-9]+", "-", name.lower()),
            vendor=series.vendor,
            vram_gb=gb,
            architecture=series.architecture,
            tier=tier,
            segment=series.segment,
            compute_capability=series.capability,
            aliases=tuple(spellings),
            form_factor=form_of(form[0]) if form else series.form,
        )


def _regular_spellings(series: Series, name: str, gb: int) -> Iterator[str]:
    """The spellings that follow a rule, so that rows list only those that do not."""
    for brand in series.brands:
        yield f"{brand} {name}"  # drivers, RunPod, io.net
    yield name.replace(" ", "_")  # Vast's command line; in lower case, GPU.ai
    yield _tensordock(series, name, gb)
    if series.short:
        yield name.partition(" ")[2]
    if " Super" in name:
        yield name.replace(" Ti Super", "S Ti").replace(" Super", "S")  # Vast


def _tensordock(series: Series, name: str, gb: int) -> str:
    """`geforcertx4090-pcie-24gb`, `a100-sxm4-80gb`: line and model in one word, form factor, size."""
    lower = name.lower()
    form = FORM_WORD.search(lower)
    model = re.sub(r"[^a-z0-9]", "", FORM_WORD.sub("", _SIZE.sub("", name).lower()))
    line = "geforce" if "GeForce" in series.brands else ""
    return f"{line}{model}-{form[0] if form else series.form or 'pcie'}-{gb}gb"
