"""Times, money and enums between the domain and protobuf."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from controlplane.domain.errors import invalid
from controlplane.domain.money import NANO


def number(wrapper: Any, prefix: str, member: str) -> Any:
    """The number of an enum member, typed loosely because the generated stubs give each enum a type of its own."""
    return wrapper.Value(f"{prefix}_{member}")


def timestamp(micros: int) -> Timestamp:
    """A Timestamp of microseconds since the epoch."""
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def micros(at: Timestamp) -> int:
    """Microseconds since the epoch."""
    return at.seconds * 1_000_000 + at.nanos // 1000


def money(nano: int, currency: str) -> Money:
    """A Money; units and nanos carry the same sign, as its contract wants."""
    sign = -1 if nano < 0 else 1
    units, nanos = divmod(abs(nano), NANO)
    return Money(currency_code=currency, units=sign * units, nanos=sign * nanos)


def nano_of(value: Money, field: str, currency: str) -> int:
    """Nano-units of a caller's Money, which must be in `currency` (empty counts as that) and not negative."""
    if value.currency_code not in ("", currency):
        raise invalid(f"{field}.currency_code", f"must be {currency}, the account's currency", value.currency_code)
    nano: int = int(value.units) * NANO + value.nanos
    if nano < 0 or value.nanos <= -NANO or value.nanos >= NANO:
        raise invalid(field, "must not be negative, with nanos below 1,000,000,000", f"{value.units}.{value.nanos}")
    if nano > 10**15 * NANO // 10**6:
        raise invalid(field, "must be at most 1,000,000,000", value.units)
    return nano


def duration(seconds: int) -> Duration:
    """A Duration of whole seconds."""
    return Duration(seconds=seconds)


def seconds_of(value: Duration, field: str, least: int, most: int) -> int:
    """Whole seconds of a caller's Duration within bounds."""
    seconds = value.seconds + (1 if value.nanos > 0 else 0)
    if not least <= seconds <= most:
        raise invalid(field, f"must be from {least}s to {most}s", f"{value.seconds}s")
    return int(seconds)
