"""Fields of strangers' JSON: numbers may come as strings, absurd ones are none."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

from controlplane.domain.money import NANO

_DEAREST = Decimal(10_000)  # per hour; nothing rented by the hour costs more
_EPOCH_FROM, _EPOCH_TO = Decimal(1_000_000_000), Decimal(4_102_444_800)  # 2001 to 2100
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BIGGEST = Decimal(10) ** 18


def decimal(value: Any) -> Decimal | None:
    """A finite number of sane size, given as such or as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
        return None
    if isinstance(value, str) and len(value) > 40:
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and -_BIGGEST <= number <= _BIGGEST else None


def natural(value: Any, most: int) -> int | None:
    """A number from 0 to `most`, cut to a whole one; None for anything else."""
    number = decimal(value)
    return int(number) if number is not None and 0 <= number <= most else None


def price(value: Any) -> int | None:
    """Nano-units per hour of a price above 0 that somebody could ask; None for anything else."""
    number = decimal(value)
    return int(number * NANO) or None if number is not None and 0 < number <= _DEAREST else None


def moment(value: Any) -> int | None:
    """Microseconds of a time in seconds since the epoch, in this century; None for anything else."""
    number = decimal(value)
    return int(number * 1_000_000) if number is not None and _EPOCH_FROM <= number <= _EPOCH_TO else None


def text(value: Any, most: int = 300) -> str:
    """A string without control characters and surrounding space; empty for anything else."""
    if not isinstance(value, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in value[:most]).strip()


def identifier(value: Any) -> str:
    """A vendor's id that is safe as a part of a path; empty for anything else."""
    return value if isinstance(value, str) and _IDENTIFIER.fullmatch(value) else ""
