"""Records to rows and back. Plain fields are stored as they are, enums by value, everything else as JSON text."""

from __future__ import annotations

import dataclasses
import functools
import json
import operator
import types
import typing
from collections.abc import Callable
from enum import Enum
from typing import Any

_PLAIN = (str, int, float, type(None))

DECODED = 512
"""How many of a column's last JSON texts are kept decoded."""

Encoder = Callable[[Any], Any]


class RecordCodec:
    """Turns one record class into rows (tuples in the order of `columns`) and back."""

    def __init__(self, record: type[Any]) -> None:
        hints = typing.get_type_hints(record)
        self.record = record
        self.columns = tuple(field.name for field in dataclasses.fields(record))
        self._fields: Callable[[Any], tuple[Any, ...]] = operator.attrgetter(*self.columns)
        self._slots = "__slots__" in vars(record)
        self._encoders = {i: enc for i, name in enumerate(self.columns) if (enc := _encoder(hints[name])) is not None}
        self._by_name = {self.columns[index]: encode for index, encode in self._encoders.items()}
        self.texts = frozenset(name for name in self.columns if _encoder(hints[name]) is _dump)
        self._decoders = [
            (index, _decoder(hints[name])) for index, name in enumerate(self.columns) if _needs_decoding(hints[name])
        ]

    def encode(self, row: Any, before: Any = None) -> list[Any]:
        """Values in column order; with `before`, None for those of `texts` that are as they were."""
        values = list(self._fields(row))
        olds = self._fields(before) if before is not None else None
        for index, encode in self._encoders.items():
            kept = olds is not None and values[index] is olds[index] and self.columns[index] in self.texts
            values[index] = None if kept else encode(values[index])
        return values

    def moved(self, before: Any, row: Any) -> list[str]:
        """The columns in which a row differs from what it was."""
        values = zip(self.columns, self._fields(before), self._fields(row), strict=True)
        return [name for name, old, new in values if new is not old and new != old]

    def changed(self, before: Any, row: Any) -> dict[str, Any]:
        """The values of those columns."""
        return {name: self._encoded(name, getattr(row, name)) for name in self.moved(before, row)}

    def _encoded(self, name: str, value: Any) -> Any:
        encode = self._by_name.get(name)
        return value if encode is None else encode(value)

    def decode(self, values: typing.Sequence[Any]) -> Any:
        """The record of values in column order; further values are ignored."""
        fields = list(values[: len(self.columns)])
        for index, decode in self._decoders:
            fields[index] = decode(fields[index])
        if self._slots:
            return self.record(*fields)
        made = object.__new__(self.record)  # a frozen record's own way takes five times as long
        made.__dict__.update(zip(self.columns, fields, strict=True))
        return made


def _strip_none(hint: Any) -> tuple[Any, bool]:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        rest = [a for a in typing.get_args(hint) if a is not type(None)]
        return rest[0], True
    return hint, False


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Enum)


def _needs_decoding(hint: Any) -> bool:
    inner, _ = _strip_none(hint)
    return inner not in _PLAIN


def _encoder(hint: Any) -> Encoder | None:
    inner, optional = _strip_none(hint)
    if inner in _PLAIN or inner is bool:
        return None
    if _is_enum(inner):
        return lambda value: value.value
    if optional:
        return lambda value: None if value is None else _dump(value)
    return _dump


def _decoder(hint: Any) -> Encoder:
    inner, optional = _strip_none(hint)
    if inner is bool:
        return bool
    if _is_enum(inner):
        return {member.value: member for member in inner}.__getitem__
    load = from_json(inner)
    # Records are values, so rows may share them; and most texts are those of the row's last reading.
    read = functools.lru_cache(DECODED)(lambda text: load(json.loads(text)))
    return (lambda value: None if value is None else read(value)) if optional else read


@functools.cache
def _names(record: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(record))


def _plain(value: Any) -> Any:
    """What json does not know: records and mappings that are no dict. Enums of ours are strings."""
    if dataclasses.is_dataclass(value):
        return {name: getattr(value, name) for name in _names(type(value))}  # type: ignore[arg-type]
    return dict(value)


_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=_plain).encode


def from_json(hint: Any) -> Callable[[Any], Any]:
    """A function that rebuilds a value of that type. Unknown members are dropped, missing ones take their default, so
    that old and new replicas read each other's rows."""
    inner, optional = _strip_none(hint)
    if optional:
        load = from_json(inner)
        return lambda value: None if value is None else load(value)
    if dataclasses.is_dataclass(inner):
        hints = typing.get_type_hints(inner)
        loads = {field.name: from_json(hints[field.name]) for field in dataclasses.fields(inner)}
        return lambda value: inner(**{k: loads[k](v) for k, v in value.items() if k in loads})  # type: ignore[operator]
    if _is_enum(inner):
        return inner  # type: ignore[no-any-return]
    if typing.get_origin(inner) is tuple:
        item = from_json(typing.get_args(inner)[0])
        return lambda value: tuple(item(v) for v in value)
    return lambda value: value
