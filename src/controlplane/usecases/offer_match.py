"""Requirements against all offers at once, each with the reason that it gives for leaving offers out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from controlplane.domain.gpus import gpu
from controlplane.domain.requirements import Requirements
from controlplane.usecases.offer_columns import Mask, every
from controlplane.usecases.offer_index import OfferIndex


@dataclass(frozen=True, slots=True)
class Test:
    """One thing that is required. `hardware` tells whether an offer that fails it is another kind of machine
    altogether, which nobody wants to read about."""

    why: str  # it fails, in a few words
    hardware: bool
    met: Callable[[OfferIndex], Mask]


def tests(wanted: Requirements, currency: str) -> Iterator[Test]:
    """What is required, the hardware first. The confidence is not among it: it depends on the time."""
    yield Test("another currency", True, lambda index: index.texts["currency"].kept(_is(currency)))
    yield from _hardware(wanted)
    yield from _terms(wanted)


@lru_cache(256)
def _is(word: str) -> Callable[[str], bool]:
    """The same word gives the same function, whose answers a column keeps."""
    return lambda found: found == word


def matching(index: OfferIndex, wanted: Requirements, currency: str) -> Mask:
    """The rows that meet all of it; not to be changed."""
    return every([test.met(index) for test in tests(wanted, currency)])


def vendor_of(gpu_type: str) -> str:
    """The maker of a GPU type in lower case; empty for none and for types that we do not know."""
    known = gpu(gpu_type)
    return known.vendor.lower() if known else ""


def _hardware(wanted: Requirements) -> Iterator[Test]:
    if wanted.gpu_types:
        yield Test("another GPU type", True, _among("gpu_type", wanted.gpu_types))
    if wanted.vendors:
        makers = frozenset(wanted.vendors)
        yield Test(
            "another vendor", True, lambda index: index.texts["gpu_type"].where(lambda t: vendor_of(t) in makers)
        )
    if wanted.gpu_count:
        yield Test("another number of GPUs", True, _compare("gpu_count", "=", wanted.gpu_count))
    for why, column, least in (
        ("too few GPUs", "gpu_count", wanted.min_gpu_count),
        ("too little GPU memory", "vram_gb", wanted.min_vram_gb),
    ):
        if least:
            yield Test(why, True, _compare(column, ">=", least))


def _terms(wanted: Requirements) -> Iterator[Test]:
    for why, name, words in (
        ("another region", "region", wanted.regions),
        ("another tier", "tier", (wanted.tier.value,) if wanted.tier else ()),
        ("another provider", "provider", wanted.providers),
    ):
        if words:
            yield Test(why, False, _among(name, words))
    if wanted.locations:
        yield Test("another location", False, _holding("location", wanted.locations))
    if wanted.simulated is not None:
        yield Test("simulated or not", False, _compare("simulated", "=", wanted.simulated))
    for why, column, least in (
        ("too unreliable", "reliability", wanted.min_reliability),
        ("too few CPUs", "cpu_count", wanted.min_cpu_count),
        ("too little memory", "memory_gb", wanted.min_memory_gb),
        ("CUDA too old", "cuda_version", wanted.min_cuda_version),
    ):
        if least:
            yield Test(why, False, _compare(column, ">=", least))
    if wanted.max_price_nano_per_hour is not None:
        yield too_dear(wanted.max_price_nano_per_hour)


def too_dear(cap_nano: int) -> Test:
    """The price per hour may be this much."""
    return Test("too dear", False, _compare("price_nano_per_hour", "<=", cap_nano))


def _among(column: str, words: tuple[str, ...]) -> Callable[[OfferIndex], Mask]:
    if len(words) == 1:
        return lambda index: index.texts[column].equal(words[0])
    return lambda index: index.texts[column].where(frozenset(words).__contains__)


def _holding(column: str, parts: tuple[str, ...]) -> Callable[[OfferIndex], Mask]:
    return lambda index: index.texts[column].where(lambda word: any(part in word.lower() for part in parts))


def _compare(column: str, op: str, bound: float) -> Callable[[OfferIndex], Mask]:
    return lambda index: index.numbers[column].compare(op, bound)
