"""Changed copies of frozen records."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

T = TypeVar("T")


def replace(row: T, **changes: Any) -> T:
    """As dataclasses.replace. A record without slots, such as Instance with its sixty fields, is copied as a whole
    instead of field by field, which is ten times faster."""
    fields = getattr(row, "__dict__", None)
    if fields is None:
        return dataclasses.replace(row, **changes)  # type: ignore[type-var]
    if not changes.keys() <= fields.keys():
        raise TypeError(f"{type(row).__name__} has no field {', '.join(changes.keys() - fields.keys())}")
    made = object.__new__(type(row))
    made.__dict__.update(fields)
    made.__dict__.update(changes)
    return made
