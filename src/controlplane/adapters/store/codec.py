"""Records to rows and back. Plain fields are stored as they are, enums by value, everything else as JSON text."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable
from enum import Enum
from typing import Any

_PLAIN = (str, int, float, type(None))

Encoder = Callable[[Any], Any]


class RecordCodec:
    """Turns one record class into rows (tuples in the order of `columns`) and back."""

    def __init__(self, record: type[Any]) -> None:
        hints = typing.get_type_hints(record)
        self.record = record
        self.columns = tuple(field.name for field in dataclasses.fields(record))
        self._encoders = [(name, _encoder(hints[name])) for name in self.columns]
        self._decoders = [
            (index, _decoder(hints[name])) for index, name in enumerate(self.columns) if _needs_decoding(hints[name])
        ]

    def encode(self, row: Any) -> list[Any]:
        """Values in column order."""
        return [value if enc is None else enc(value) for value, enc in
                ((getattr(row, name), enc) for name, enc in self._encoders)]  # fmt: skip

    def decode(self, values: typing.Sequence[Any]) -> Any:
        """The record of values in column order; further values are ignored."""
        fields = list(values[: len(self.columns)])
        for index, decode in self._decoders:
            fields[index] = decode(fields[index])
        return self.record(*fields)


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
    if inner is bool or _is_enum(inner):
        return inner  # type: ignore[no-any-return]
    load = from_json(inner)
    if optional:
        return lambda value: None if value is None else load(json.loads(value))
    return lambda value: load(json.loads(value))


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
