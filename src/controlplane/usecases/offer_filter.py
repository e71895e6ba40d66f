"""Filters of offers: which fields there are, what may be compared with them, and the rows that a filter leaves."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

import numpy as np

from controlplane.domain.errors import InvalidArgument, invalid
from controlplane.domain.gpus import gpu, matching
from controlplane.domain.money import NANO
from controlplane.usecases.filter_syntax import Comparison, FilterError, Negation, Node, parse
from controlplane.usecases.offer_columns import Mask
from controlplane.usecases.offer_confidence import Outlook
from controlplane.usecases.offer_index import OfferIndex
from controlplane.usecases.offer_match import vendor_of

Words = Callable[[str], bool]
Select = Callable[[OfferIndex, Callable[[], Outlook]], Mask]

_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?")
_COUNTS = ("gpu_count", "vram_gb", "cpu_count", "memory_gb", "disk_gb", "available")
_MAYBE = ("reliability", "cuda_version")
_TEXTS = ("provider", "region", "location", "gpu_type", "vendor", "architecture", "tier")
FIELDS = (*_TEXTS, *_COUNTS, *_MAYBE, "price_per_hour", "confidence", "simulated")


@dataclass(frozen=True, slots=True)
class OfferFilter:
    """A filter that was understood. `select` gives the rows it leaves; the outlook is asked for only if needed."""

    select: Select
    by_confidence: bool


@lru_cache(1024)
def read_filter(text: str, field: str = "filter") -> OfferFilter | None:
    """The filter that a text means; None for an empty one. Raises InvalidArgument with the place and the word. Callers
    ask with the same few texts again and again."""
    try:
        tree = parse(text)
        return OfferFilter(_selection(tree), _mentions_confidence(tree)) if tree is not None else None
    except FilterError as error:
        raise _refusal(field, error) from error


def _refusal(field: str, error: FilterError) -> InvalidArgument:
    return invalid(field, f"{error.rule} (at character {error.position})", error.word)


def _mentions_confidence(node: Node) -> bool:
    match node:
        case Comparison():
            return node.field.value == "confidence"
        case Negation():
            return _mentions_confidence(node.inner)
    return any(map(_mentions_confidence, node.parts))


def _selection(node: Node) -> Select:
    match node:
        case Comparison():
            return _comparison(node)
        case Negation():
            inner = _selection(node.inner)
            return lambda index, outlook: ~inner(index, outlook)
    parts = [_selection(part) for part in node.parts]
    join = np.logical_and if node.every else np.logical_or

    def joined(index: OfferIndex, outlook: Callable[[], Outlook]) -> Mask:
        first, second, *others = (part(index, outlook) for part in parts)
        mask: Mask = join(first, second)  # an array of its own: the parts may be kept
        for other in others:
            join(mask, other, out=mask)
        return mask

    return joined


def _comparison(node: Comparison) -> Select:
    name = node.field.value
    if name in _TEXTS:
        return _text(node)
    if name == "simulated":
        return _flag(node)
    if name in (*_COUNTS, *_MAYBE):
        return _number(node)
    if name == "confidence":
        bound, op = _bound(node), _operator(node)
        return lambda index, outlook: outlook().compare(op, bound)
    if name == "price_per_hour":
        return _price(node)
    raise FilterError(f"must name a field among {', '.join(FIELDS)}", node.field.position, name)


def _operator(node: Comparison) -> str:
    """`:` on what has one value is equality."""
    return "=" if node.op == ":" else node.op


def _bound(node: Comparison) -> float:
    return float(_decimal(node))


def _decimal(node: Comparison) -> Decimal:
    if not _NUMBER.fullmatch(node.value.value):
        raise FilterError(f"must have a number for {node.field.value}", node.value.position, node.value.value)
    return Decimal(node.value.value)


def _number(node: Comparison) -> Select:
    name = node.field.value
    if (node.op, node.value.value) == (":", "*"):
        return lambda index, _: index.numbers[name].known
    op, bound = _operator(node), _bound(node)
    return lambda index, _: index.numbers[name].compare(op, bound)


def _price(node: Comparison) -> Select:
    nano = _decimal(node) * NANO
    if nano != int(nano):
        raise FilterError("must have a price of at most nine decimals", node.value.position, node.value.value)
    op, bound = _operator(node), int(nano)
    return lambda index, _: index.numbers["price_nano_per_hour"].compare(op, bound)


def _flag(node: Comparison) -> Select:
    op, word = _operator(node), node.value.value.lower()
    if word not in ("true", "false") or op not in ("=", "!="):
        raise FilterError("must be = or != true or false for simulated", node.value.position, node.value.value)
    wanted = int((word == "true") is (op == "="))
    return lambda index, _: index.numbers["simulated"].compare("=", wanted)


def _text(node: Comparison) -> Select:
    """Words are compared without regard to case. `*` in a word compared by = or != stands for anything."""
    name, op = node.field.value, node.op
    if op not in ("=", "!=", ":"):
        raise FilterError(f"must compare {name} by =, != or :", node.field.position, name)
    column = "gpu_type" if name in ("vendor", "architecture") else name
    test = _test(name, op, node.value.value)
    if op == "!=":
        return lambda index, _: ~index.texts[column].kept(test)
    return lambda index, _: index.texts[column].kept(test)


@lru_cache(4096)
def _test(name: str, op: str, word: str) -> Words:
    """The test of what a column holds. The same words give the same function, whose answers the column keeps."""
    test = _words_test(name, op, word.lower())
    if name == "vendor":
        return lambda gpu_type: test(vendor_of(gpu_type))
    if name == "architecture":
        return lambda gpu_type: test(known.architecture if (known := gpu(gpu_type)) else "")
    return test


def _words_test(name: str, op: str, word: str) -> Words:
    if op == ":":
        return bool if word == "*" else lambda found: word in found.lower()
    if "*" in word:
        return lambda found: _like(word, found.lower())
    if name == "gpu_type":
        meant = {known.name.lower() for known in matching(word)} | {word}
        return lambda found: found.lower() in meant
    if name == "tier":
        tier = word.replace("-", "_").removeprefix("tier_")
        return lambda found: found == tier
    return lambda found: found.lower() == word


def _like(pattern: str, text: str) -> bool:
    """Whether the text is the pattern, whose stars stand for anything: in one pass, whatever the pattern."""
    first, *middle, last = pattern.split("*")
    if not text.startswith(first):
        return False
    at = len(first)
    for part in middle:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(text) - len(last) >= at and text.endswith(last)
