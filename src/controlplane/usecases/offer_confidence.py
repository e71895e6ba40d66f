"""How sure it is that an offer can still be had: by the age of what is known, and by what was tried in vain.

Fresh knowledge is worth 1.0. Between two and five minutes of age that falls to one half, and to 0.1 at half an hour;
after an hour the offer is not sold. Remembered failures of the offer, its host and its GPU type take their part, and
fade (domain/failures.py). Figures are rounded to thousandths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controlplane.domain.billing import SECOND
from controlplane.domain.failures import HALF_LIFE_S, FailureRecord, spared, subjects
from controlplane.domain.offer import Offer
from controlplane.usecases.offer_columns import Mask, Rows
from controlplane.usecases.offer_index import ID_BITS, OfferIndex

FRESH_S, SOLD_S = 120.0, 3600.0
FADED = 0.01  # a score below this is as good as none
_AGEING = ((0.0, 1.0), (FRESH_S, 1.0), (300.0, 0.5), (1800.0, 0.1), (SOLD_S, 0.1))
_KINDS = {"offer": 0, "host": 1, "gpu": 2}
_DIGITS, _THOUSAND = 3, 1000
_FORMER = 64  # records kept of one subject


class Freshness(StrEnum):
    """How old the knowledge of an offer is."""

    FRESH = "FRESH"
    AGING = "AGING"
    STALE = "STALE"


def freshness(age_s: float, reachable: bool = True) -> Freshness:
    """What an age, in seconds, means. Knowledge that could not be renewed just now is never fresh."""
    if age_s > SOLD_S:
        return Freshness.STALE
    return Freshness.FRESH if age_s < FRESH_S and reachable else Freshness.AGING


def worth(age_s: float) -> float:
    """The factor of confidence, 0 to 1, that knowledge of this age keeps."""
    for (young, more), (old, less) in pairwise(_AGEING):
        if age_s <= old:
            return more - (more - less) * max(0.0, age_s - young) / (old - young)
    return 0.0


class FailureMemory:
    """The failures that all replicas remember, and what stood in the place of each record during the last hour, so that
    the pages of a listing keep the view of their first."""

    def __init__(self) -> None:
        self._records: dict[str, FailureRecord] = {}
        self._former: dict[str, tuple[FailureRecord, ...]] = {}  # oldest first
        self.version = 0
        self.newest = 0  # the time of the last failure

    def remember(self, records: Iterable[FailureRecord]) -> None:
        """Take records, each in the place of the last one of its subject."""
        for record in records:
            old = self._records.get(record.id)
            if old == record:
                continue
            if old is not None:
                self._former[record.id] = (*self._former.get(record.id, ()), old)[-_FORMER:]
            self._records[record.id] = record
            self.newest = max(self.newest, record.at)
            self.version += 1

    def forget(self, now: int) -> None:
        """Let go of what had faded an hour ago, and of what was replaced before then."""
        before = now - int(SOLD_S * SECOND)
        faded = [r.id for r in self._records.values() if r.rest_until <= now and r.score(before) < FADED]
        for id in faded:
            del self._records[id]
        self.version += len(faded)
        self._former = {
            id: records for id, records in self._former.items() if id in self._records and self._records[id].at > before
        }

    def get(self, id: str) -> FailureRecord | None:
        """What is remembered of a subject."""
        return self._records.get(id)

    def all(self) -> list[FailureRecord]:
        """What is remembered."""
        return list(self._records.values())

    def as_of(self, at: int) -> list[FailureRecord]:
        """What was remembered then."""
        found = []
        for record in self._records.values():
            known = [former for former in (*self._former.get(record.id, ()), record) if former.at <= at]
            found += known[-1:]
        return found

    def confidence(self, offer: Offer, worth: float, now: int) -> float:
        """The confidence in one offer, of whose page the age leaves this much."""
        for id in subjects(offer):
            record = self._records.get(id)
            worth *= spared(record.score(now)) if record is not None else 1.0
        return round(worth, _DIGITS)


@dataclass(frozen=True, slots=True)
class Damage:
    """What failures did to the rows of an index: the scores of offer, host and GPU type, as they are at `at`."""

    rows: Rows  # those concerned, in ascending order
    scores: NDArray[np.float64]  # three for each
    at: int

    @classmethod
    def of(cls, index: OfferIndex, records: list[FailureRecord]) -> Damage:
        """The damage that records tell of."""
        at = max((record.at for record in records), default=0)
        scores = np.zeros((len(_KINDS), len(index)), np.float64)
        for record in records:
            kind, name = _subject(record)
            if kind in _KINDS:
                scores[_KINDS[kind], index.rows_of(record.provider, kind, name)] = record.score(at)
        rows = np.flatnonzero(scores.any(axis=0))
        return cls(rows, scores[:, rows], at)

    def spared(self, at: int) -> NDArray[np.float64]:
        """The factor of confidence that is left to each row: all scores fade alike."""
        fading = 0.5 ** (max(0, at - self.at) / (HALF_LIFE_S * SECOND))
        left: NDArray[np.float64] = np.prod(spared(self.scores * fading), axis=0)
        return left


def resting(index: OfferIndex, records: list[FailureRecord], now: int) -> Mask:
    """The rows whose offer or host is not to be tried yet."""
    mask = np.zeros(len(index), np.bool_)
    for record in records:
        if record.rest_until > now:
            mask[index.rows_of(record.provider, *_subject(record))] = True
    return mask


def _subject(record: FailureRecord) -> tuple[str, str]:
    """Kind and name of what a record is about (its id is made by domain/failures.py)."""
    kind, _, rest = record.id.partition("/")
    return kind, rest if kind == "offer" else rest.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Outlook:
    """The confidence in every row of an index: that of its provider, but for the rows that failures concern."""

    index: OfferIndex
    worths: NDArray[np.float64]  # by the code of the provider
    rows: Rows  # concerned by failures, in ascending order
    values: NDArray[np.float64]  # of those rows

    @classmethod
    def of(cls, index: OfferIndex, worths: Mapping[str, float], damage: Damage, at: int) -> Outlook:
        """The outlook as of a time, given what the age of each provider's page leaves."""
        providers = index.texts["provider"]
        by_code = np.array([worths.get(name, 0.0) for name in providers.values], np.float64)
        if not len(damage.rows):
            return cls(index, by_code.round(_DIGITS), damage.rows, damage.scores)
        values = by_code[providers.codes[damage.rows]] * damage.spared(at)
        return cls(index, by_code.round(_DIGITS), damage.rows, values.round(_DIGITS))

    def all(self, rows: Rows | None = None) -> NDArray[np.float64]:
        """The confidence of some rows, or of all."""
        codes = self.index.texts["provider"].codes
        whole = self.worths[codes]
        whole[self.rows] = self.values
        return whole if rows is None else whole[rows]

    def of_rows(self, rows: list[int]) -> list[float]:
        """The confidence of a few rows."""
        codes = self.index.texts["provider"].codes
        if not len(self.rows):
            return [float(self.worths[codes[row]]) for row in rows]
        places = np.searchsorted(self.rows, rows).clip(max=len(self.rows) - 1)
        failed = self.rows[places] == rows
        return np.where(failed, self.values[places], self.worths[codes[rows]]).tolist()  # type: ignore[no-any-return]

    def compare(self, op: str, bound: float) -> Mask:
        """The rows that hold `confidence op bound`."""
        names = self.index.texts["provider"]
        passing = {name for name, worth in zip(names.values, self.worths, strict=True) if _COMPARE[op](worth, bound)}
        mask = names.where(passing.__contains__)
        mask[self.rows] = _COMPARE[op](self.values, bound)
        return mask


@dataclass(frozen=True, slots=True)
class OutlookOrder:
    """Rows by confidence and then by id, as offer_index.Order is by a column. Made for one page, not for an index."""

    outlook: Outlook
    descending: bool

    def first(self, mask: Mask, count: int, after: tuple[str, str] | None) -> list[int]:
        """The first rows of the mask, behind a position that `position` gave or from the beginning."""
        index, rows = self.outlook.index, np.flatnonzero(mask)
        thousandths = (self.outlook.all(rows) * _THOUSAND).round().astype(np.int64)
        keys = (self._rank(thousandths) << ID_BITS) | index.id_rank(rows)
        if after is not None:
            value, id = after
            left = keys >= (self._rank(np.int64(value)) << ID_BITS) | index.rank_after(id)
            rows, keys = rows[left], keys[left]
        nearest = np.argpartition(keys, count)[:count] if len(keys) > count else np.arange(len(keys))
        return rows[nearest[np.argsort(keys[nearest])]].tolist()  # type: ignore[no-any-return]

    def position(self, row: int) -> tuple[str, str]:
        """Confidence in thousandths, and id, of a row."""
        (confidence,) = self.outlook.of_rows([row])
        return str(round(confidence * _THOUSAND)), self.outlook.index.offers[row].id

    def _rank(self, thousandths: Any) -> Any:
        return _THOUSAND - thousandths if self.descending else thousandths


_COMPARE = {
    "=": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip
