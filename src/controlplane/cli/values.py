"""Durations, money and times: as they are typed, and as they are shown."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp
    from google.type.money_pb2 import Money

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_MONEY = re.compile(r"\$?\s*(\d+(?:\.\d{1,9})?)\s*([A-Za-z]{3})?")


def parse_duration(text: str) -> int | None:
    """Seconds of `90s`, `30m`, `2h`, `1h30m`, `1d`; None for anything else: a bare number, too."""
    match = _DURATION.fullmatch(text.strip().lower())
    if not match or not any(match.groups()):
        return None
    return sum(int(count or 0) * unit for count, unit in zip(match.groups(), _UNITS.values(), strict=True))


def format_duration(seconds: float) -> str:
    """The two largest units: `45s`, `12m`, `1h30m`, `3d4h`."""
    left = max(0, round(seconds))
    parts: list[tuple[int, str]] = []
    for name, unit in _UNITS.items():
        count, left = divmod(left, unit)
        if count or parts:
            parts.append((count, name))
    shown = [f"{count}{name}" for count, name in parts[:2] if count]
    return "".join(shown) or "0s"


def format_money(money: Money) -> str:
    """`$0.45` or `0.45 EUR`: all digits that are there, at least two."""
    amount = (Decimal(money.units) + Decimal(money.nanos).scaleb(-9)).quantize(Decimal("1e-9"))
    whole, _, fraction = f"{abs(amount):f}".partition(".")
    sign = "-" if amount < 0 else ""
    digits = f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
    currency = money.currency_code or "USD"
    return f"{sign}${digits}" if currency == "USD" else f"{sign}{digits} {currency}"


def format_hourly(money: Money) -> str:
    """A price per hour: `$0.45/h`."""
    return f"{format_money(money)}/h"


def format_time(stamp: Timestamp) -> str:
    """`2026-11-22 10:00:00 UTC`, or nothing for a time that has not come."""
    return f"{to_datetime(stamp):%Y-%m-%d %H:%M:%S} UTC" if stamp.seconds else ""


def format_age(stamp: Timestamp) -> str:
    """How long ago, by its largest unit only: columns are narrow."""
    if not stamp.seconds:
        return ""
    seconds = max(0, int((datetime.now(UTC) - to_datetime(stamp)).total_seconds()))
    for name, unit in _UNITS.items():
        if seconds >= unit:
            return f"{seconds // unit}{name}"
    return "now"


def to_datetime(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


class DurationType(click.ParamType[Any]):
    """An option that takes a duration."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Duration:
        from google.protobuf.duration_pb2 import Duration

        if isinstance(value, Duration):
            return value
        seconds = parse_duration(value)
        if seconds is None:
            self.fail(f"{value!r} is not a duration; write 90s, 30m, 2h, 1h30m or 1d", param, ctx)
        return Duration(seconds=seconds)


class MoneyType(click.ParamType[Any]):
    """An option that takes an amount of money."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Money:
        from google.type.money_pb2 import Money

        if isinstance(value, Money):
            return value
        match = _MONEY.fullmatch(value.strip())
        if not match:
            self.fail(f"{value!r} is not an amount; write 0.50, or 0.50EUR where it is not dollars", param, ctx)
        amount = Decimal(match[1])
        return Money(
            currency_code=(match[2] or "USD").upper(),
            units=int(amount),
            nanos=int(amount % 1 * 1_000_000_000),
        )


class TimeType(click.ParamType[Any]):
    """An option that takes a point in time, or a duration ago (`24h`)."""

    name = "time"

    def __init__(self, *, ago: bool = True) -> None:
        self._ago = ago

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Timestamp:
        from google.protobuf.timestamp_pb2 import Timestamp

        if isinstance(value, Timestamp):
            return value
        stamp = Timestamp()
        seconds = parse_duration(value)
        if seconds is not None:
            now = int(datetime.now(UTC).timestamp())
            stamp.FromSeconds(now - seconds if self._ago else now + seconds)
            return stamp
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time; write 2026-11-22, 2026-11-22T10:00:00 or 24h", param, ctx)
        stamp.FromDatetime(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC))
        return stamp


class PairType(click.ParamType[Any]):
    """An option that takes `KEY=VALUE`."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value[0], value[1]
        key, equals, text = value.partition("=")
        if not key or not equals:
            self.fail(f"{value!r} is not of the form KEY=VALUE", param, ctx)
        return key, text


DURATION = DurationType()
MONEY = MoneyType()
SINCE = TimeType()
UNTIL = TimeType(ago=False)
PAIR = PairType()
