"""Vast.ai's filters: {field: {op: value}} over offers, instances and templates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "neq": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}
_MEMBER: dict[str, Callable[[Any, Collection[Any]], bool]] = {
    "in": lambda a, b: a in b,
    "notin": lambda a, b: a not in b,
}


class BadFilter(Exception):
    """A filter that the market refuses; the text says why."""


def matches(row: Mapping[str, Any], filters: Mapping[str, Any]) -> bool:
    """Whether a row passes all filters. Raises BadFilter for an unknown field or operator, or a value that does not fit
    the field.
    """
    return all(_passes(row, name, conditions) for name, conditions in filters.items())


def _passes(row: Mapping[str, Any], name: str, conditions: Any) -> bool:
    if name not in row:
        raise BadFilter(f"unknown field: {name}")
    if not isinstance(conditions, Mapping):
        raise BadFilter(f"{name}: a filter is an object of operators")
    held = row[name]
    return all(_holds(name, held, op, wanted) for op, wanted in conditions.items())


def _holds(name: str, held: Any, op: str, wanted: Any) -> bool:
    if op in _MEMBER:
        if not isinstance(wanted, list):
            raise BadFilter(f"{name}: {op} needs a list")
        return _MEMBER[op](held, [_coerced(name, held, item) for item in wanted])
    if op not in _ORDERED:
        raise BadFilter(f"{name}: unknown operator {op}")
    value = _coerced(name, held, wanted)
    if held is None or value is None:
        return _ORDERED[op](held, value) if op in ("eq", "neq") else False
    return _ORDERED[op](held, value)


def _coerced(name: str, held: Any, wanted: Any) -> Any:
    """A value as the field's type: clients send "1" and "true" next to 1 and true."""
    try:
        if wanted is None or held is None:
            return wanted
        if isinstance(held, bool):
            return wanted.lower() in ("true", "1") if isinstance(wanted, str) else bool(wanted)
        if isinstance(held, int | float):
            return float(wanted)
    except (TypeError, ValueError):
        raise BadFilter(f"{name}: {str(wanted)[:50]} is no number") from None
    return str(wanted)
