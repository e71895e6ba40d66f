"""Columns of offers: every value as a small code into the sorted distinct values of its field.

A condition on a field is thus decided once per distinct value, and for 100,000 offers by comparing bytes: a few
microseconds, whatever the field holds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from math import isfinite, nan
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Mask: TypeAlias = NDArray[np.bool_]
Rows: TypeAlias = NDArray[np.intp]
Codes: TypeAlias = NDArray[np.unsignedinteger]
Number: TypeAlias = int | float
_MOST_MASKS = 64  # of a column: one byte for every offer each


def _narrow(codes: NDArray[np.integer], distinct: int) -> Codes:
    """The codes in the smallest type that holds them and one more."""
    return codes.astype(np.min_scalar_type(distinct))


class NumberColumn:
    """Numbers, some of them unknown. `values` are sorted and distinct; the code `len(values)` means unknown."""

    def __init__(self, values: Sequence[Number], codes: Codes, dtype: type[np.generic]) -> None:
        self.values = values
        self.codes = codes
        self.dtype = dtype
        self._ascending = bool(len(values)) and bool((codes[1:] >= codes[:-1]).all())  # as prices are in an index
        self._complete = not len(codes) or int(codes.max()) < len(values)

    @classmethod
    def of(cls, numbers: Iterable[Number | None], dtype: type[np.generic], count: int) -> NumberColumn:
        """The column of so many numbers."""
        if dtype is np.float64:
            numbers = (number if number is not None and isfinite(number) else nan for number in numbers)
        found, codes = np.unique(np.fromiter(numbers, dtype, count), return_inverse=True)
        values = found.tolist()
        if values and values[-1] != values[-1]:
            values.pop()  # not a number: it sorts last, and so has the code of the unknown
        return cls(values, _narrow(codes, len(values)), dtype)

    @classmethod
    def merged(cls, columns: Sequence[NumberColumn], order: Rows) -> NumberColumn:
        """Columns one after another, their rows put into an order."""
        dtype = columns[0].dtype
        distinct = [np.array(column.values, dtype) for column in columns]
        union = np.unique(np.concatenate(distinct))
        tables = [np.append(np.searchsorted(union, values), len(union)) for values in distinct]
        codes = np.concatenate([table[c.codes] for table, c in zip(tables, columns, strict=True)])
        return cls(union.tolist(), _narrow(codes[order], len(union)), dtype)

    def compare(self, op: str, bound: Number) -> Mask:
        """The rows that hold `value op bound`, where op is =, !=, <, <=, > or >=. Unknown values hold != only."""
        low, high = bisect_left(self.values, bound), bisect_right(self.values, bound)
        match op:
            case ">=":
                return self.between(low, len(self.values))
            case ">":
                return self.between(high, len(self.values))
            case "<":
                return self.between(0, low)
            case "<=":
                return self.between(0, high)
            case "=":
                return self.between(low, high)
        return ~self.between(low, high)

    def between(self, low: int, high: int) -> Mask:
        """The rows whose code is at least `low` and below `high`."""
        if self._ascending:
            mask = np.zeros(len(self.codes), np.bool_)
            first, last = self.codes.searchsorted(np.array((low, high), self.codes.dtype))
            mask[first:last] = True
            return mask
        if self._complete and high == len(self.values):
            return self.codes >= low
        return _between(self.codes, low, high)

    @property
    def known(self) -> Mask:
        """The rows that have a value."""
        return self.codes < len(self.values)

    def at(self, row: int) -> Number | None:
        """One value."""
        code = int(self.codes[row])
        return self.values[code] if code < len(self.values) else None

    def array(self, rows: Rows | slice = slice(None)) -> NDArray[np.int64]:
        """The values of some rows, or of all, in a column of whole numbers, where none is unknown."""
        return np.array(self.values, np.int64)[self.codes[rows]]

    def floats(self, rows: Rows, unknown: float) -> NDArray[np.float64]:
        """The values of some rows."""
        return np.array([*self.values, unknown], np.float64)[self.codes[rows]]


def every(masks: Sequence[Mask]) -> Mask:
    """The rows of all the masks. A single one is itself the answer; not to be changed, as a column may keep it."""
    if len(masks) == 1:
        return masks[0]
    found = masks[0] & masks[1]
    for mask in masks[2:]:
        found &= mask
    return found


class TextColumn:
    """Words. `values` are sorted and distinct."""

    def __init__(self, values: Sequence[str], codes: Codes) -> None:
        self.values = values
        self.codes = codes
        self._masks: dict[Callable[[str], bool], Mask] = {}

    @classmethod
    def of(cls, words: Iterable[str], count: int) -> TextColumn:
        """The column of so many words."""
        seen = _Vocabulary()
        codes = np.fromiter(map(seen.__getitem__, words), np.int64, count)
        values = sorted(seen)
        table = np.empty(len(values), np.int64)
        for code, word in enumerate(values):
            table[seen[word]] = code
        return cls(values, _narrow(table[codes], len(values)))

    @classmethod
    def merged(cls, columns: Sequence[TextColumn], order: Rows) -> TextColumn:
        """Columns one after another, their rows put into an order."""
        values = sorted(set().union(*(column.values for column in columns)))
        places = {word: code for code, word in enumerate(values)}
        tables = [np.array([places[word] for word in column.values], np.int64) for column in columns]
        codes = np.concatenate([table[c.codes] for table, c in zip(tables, columns, strict=True)])
        return cls(values, _narrow(codes[order], len(values)))

    def where(self, test: Callable[[str], bool]) -> Mask:
        """The rows whose word passes; the test is asked once per distinct word."""
        answers = list(map(test, self.values))
        if True not in answers:
            return np.zeros(len(self.codes), np.bool_)
        low, high = answers.index(True), len(answers) - answers[::-1].index(True)
        if all(answers[low:high]):  # neighbours: comparing is faster than looking up
            return _between(self.codes, low, high)
        return np.array(answers, np.bool_).take(self.codes)

    def kept(self, test: Callable[[str], bool]) -> Mask:
        """As `where`, read-only, and kept for the next who asks with the same function."""
        mask = self._masks.get(test)
        if mask is None:
            if len(self._masks) >= _MOST_MASKS:
                self._masks.clear()
            mask = self._masks[test] = self.where(test)
            mask.flags.writeable = False
        return mask

    def equal(self, word: str) -> Mask:
        """The rows of one word."""
        code = bisect_left(self.values, word)
        found = code < len(self.values) and self.values[code] == word
        return _between(self.codes, code, code + found)

    def at(self, row: int) -> str:
        """One word."""
        return self.values[int(self.codes[row])]


def _between(codes: Codes, low: int, high: int) -> Mask:
    if low >= high:
        return np.zeros(len(codes), np.bool_)
    if low == 0:
        return codes < high
    return codes == low if high == low + 1 else (codes >= low) & (codes < high)


class _Vocabulary(dict[str, int]):
    """Words numbered as they come."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number
