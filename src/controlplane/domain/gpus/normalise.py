"""One normaliser for every way a marketplace, a driver or a person writes the name of a GPU.

A spelling is read into parts: what is left of it once vendor words, form factor, memory and count are taken
out (the *stem*, "rtx4090", "a100"), and those parts. The stem must be known as it stands. There is no fuzzy
matching, so "RTX 4090 Ti" and "RTX 3060 Laptop" are unknown rather than nearly right. The parts may then only
narrow down what the stem means; a part that contradicts every candidate makes the spelling unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from controlplane.domain.gpus.model import FORM_WORD, Gpu, form_of
from controlplane.domain.gpus.table import GPUS, SHARED

# Drivers report a little less than the box says, and not always the same: 24564 MB for a 24 GB card.
_WOBBLE = 0.07

# The driver names Grace Hopper by the memory of its CPU half.
_HOST_MEMORY = frozenset({("gh200", 480.0)})

_LONGEST = 100  # no name is longer; keeps what strangers send out of the cache

_VENDOR_OF = {
    **dict.fromkeys(("nvidia", "geforce", "tesla"), "NVIDIA"),
    **dict.fromkeys(("amd", "radeon", "instinct"), "AMD"),
    **dict.fromkeys(("intel", "habana"), "Intel"),
}
_VENDOR_WORD = re.compile("|".join(_VENDOR_OF))
_EMPTY_WORD = re.compile(r"\((?:r|tm)\)|gpu|graphics|generation|edition|tensor[\W_]*core")
# How many of them: "8x H100", "gpu_1x_a6000", "H100_sxm5x8", "H100:1".
_COUNT = re.compile(r"^[\W_]*\d{1,2}[\W_]*x(?=[\W_a-z])|(?:x[\W_]*|:)\d{1,2}$")
# A lone "g" must stand apart from the model: the 10g of "A10G" is no size.
_MEMORY = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?)[\W_]*gi?b(?![a-z0-9])|(?<![a-z0-9.])(\d{1,3})g(?![a-z0-9])")
_TRAILING_SIZE = re.compile(r"^(.*[^\W_])[\W_]+(\d{1,3})$")  # "h200-141"
_SEPARATORS = re.compile(r"[\W_]+")
# Separators mean nothing, except between digits: "h200 141" is not "h200141", nor "L4 0" an L40.
_CLOSABLE = re.compile(r"(?<!\d) | (?!\d)")


@dataclass(frozen=True, slots=True)
class _Parts:
    stem: str
    shorter_stem: str  # without a trailing bare number, which may be a size; else ""
    shorter_gb: float
    gb: float | None
    forms: frozenset[str]
    vendors: frozenset[str]


def normalise(spelling: str, *, vram_gb: float | None = None) -> Gpu | None:
    """The GPU that `spelling` means, or None: never a guess.

    `vram_gb` is what was measured or advertised for one GPU. It only chooses between memory variants; a name
    that leaves one size is believed as it is. Where memory is not known, the variant rented most is meant
    (the first in the table), except for names that different cards share ("RTX 6000"): those need memory.
    """
    candidates, assumable = _read(spelling) if len(spelling) <= _LONGEST else ((), True)
    if vram_gb and len({gpu.vram_gb for gpu in candidates}) > 1:
        candidates = _of_size(candidates, vram_gb)
    if not candidates or (len(candidates) > 1 and not assumable):
        return None
    return candidates[0]


def matching(query: str) -> tuple[Gpu, ...]:
    """Every GPU that `query` may mean, for filters: all variants for "H100", one for "RTX 4090"."""
    return _read(query)[0] if len(query) <= _LONGEST else ()


@lru_cache(maxsize=4096)
def _read(spelling: str) -> tuple[tuple[Gpu, ...], bool]:
    """What the spelling may mean, most rented first, and whether the first may be assumed."""
    parts = _parse(spelling)
    stem, gb = parts.stem, parts.gb
    if stem not in _MEANINGS and gb is None:
        stem, gb = parts.shorter_stem, parts.shorter_gb
    candidates = tuple(
        gpu
        for gpu in _MEANINGS.get(stem, ())
        if parts.vendors <= {gpu.vendor} and (not gpu.form_factor or parts.forms <= {gpu.form_factor})
    )
    if gb is not None and (stem, gb) not in _HOST_MEMORY:
        candidates = _of_size(candidates, gb)
    return candidates, stem not in _NOT_ASSUMABLE


def _parse(spelling: str) -> _Parts:
    text = _EMPTY_WORD.sub(" ", spelling.lower()).strip()
    vendors = frozenset(_VENDOR_OF[word] for word in _VENDOR_WORD.findall(text))
    text = _COUNT.sub(" ", _VENDOR_WORD.sub(" ", text))
    memory = _MEMORY.search(text)
    text = _MEMORY.sub(" ", text, count=1)
    forms = frozenset(form_of(word) for word in FORM_WORD.findall(text))
    text = FORM_WORD.sub(" ", text).strip()
    shorter = _TRAILING_SIZE.match(text)
    return _Parts(
        stem=_close(text),
        shorter_stem=_close(shorter[1]) if shorter else "",
        shorter_gb=float(shorter[2]) if shorter else 0.0,
        gb=float(memory[1] or memory[2]) if memory else None,
        forms=forms,
        vendors=vendors,
    )


def _close(text: str) -> str:
    return _CLOSABLE.sub("", _SEPARATORS.sub(" ", text).strip())


def _of_size(candidates: Iterable[Gpu], gb: float) -> tuple[Gpu, ...]:
    """Those whose memory is the nearest to `gb`, if it is near at all."""
    near = {g: abs(g.vram_gb - gb) for g in candidates if abs(g.vram_gb - gb) <= _WOBBLE * g.vram_gb}
    best = min(near.values(), default=0.0)
    return tuple(gpu for gpu, distance in near.items() if distance == best)


def _meanings() -> dict[str, tuple[Gpu, ...]]:
    """Stem -> what it may mean, in table order. The table's own spellings teach us every stem."""
    found: dict[str, dict[Gpu, None]] = {}
    for gpu in GPUS:
        for spelling in (gpu.name, gpu.slug, *gpu.aliases):
            found.setdefault(_parse(spelling).stem, {})[gpu] = None
    by_name = {gpu.name: gpu for gpu in GPUS}
    for spelling, names, _ in SHARED:
        found[_parse(spelling).stem] = dict.fromkeys(by_name[name] for name in names)
    return {stem: tuple(gpus) for stem, gpus in found.items()}


_MEANINGS = _meanings()
_NOT_ASSUMABLE = frozenset(_parse(spelling).stem for spelling, _, assumable in SHARED if not assumable)
