"""Durations, money and times, typed and shown."""

from __future__ import annotations

import click
import pytest
from google.type.money_pb2 import Money

from controlplane.cli.values import (
    DURATION,
    MONEY,
    PAIR,
    SINCE,
    UNTIL,
    format_duration,
    format_money,
    parse_duration,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1d", 86_400),
        ("1D2h", 93_600),
        ("", None),
        ("90", None),
        ("h", None),
        ("30m1h", None),
        ("-5m", None),
        ("1.5h", None),
    ],
)
def test_parse_duration(text: str, seconds: int | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.4, "0s"), (45, "45s"), (720, "12m"), (5400, "1h30m"), (3600, "1h"), (273_600, "3d4h"), (3601, "1h")],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("units", "nanos", "currency", "text"),
    [
        (0, 450_000_000, "USD", "$0.45"),
        (0, 0, "USD", "$0.00"),
        (2, 0, "EUR", "2.00 EUR"),
        (0, 450_000_000, "EUR", "0.45 EUR"),
        (0, 123_456_789, "USD", "$0.123456789"),
        (0, 1_000, "USD", "$0.000001"),
        (-1, -500_000_000, "USD", "-$1.50"),
        (1234, 0, "", "$1234.00"),
    ],
)
def test_format_money(units: int, nanos: int, currency: str, text: str) -> None:
    assert format_money(Money(units=units, nanos=nanos, currency_code=currency)) == text


@pytest.mark.parametrize(
    ("text", "money"),
    [
        ("0.50", Money(currency_code="USD", nanos=500_000_000)),
        ("$2", Money(currency_code="USD", units=2)),
        ("2.5eur", Money(currency_code="EUR", units=2, nanos=500_000_000)),
        ("0.000000001", Money(currency_code="USD", nanos=1)),
    ],
)
def test_money_option(text: str, money: Money) -> None:
    assert MONEY.convert(text, None, None) == money


@pytest.mark.parametrize("text", ["", "cheap", "-1", "0.0000000001", "1e3", "0.5 EURO"])
def test_money_option_refuses(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not an amount"):
        MONEY.convert(text, None, None)


def test_duration_option_says_how_to_write_it() -> None:
    with pytest.raises(click.BadParameter, match="write 90s, 30m, 2h"):
        DURATION.convert("2 hours", None, None)


def test_pair_option() -> None:
    assert PAIR.convert("a=b=c", None, None) == ("a", "b=c")
    with pytest.raises(click.BadParameter):
        PAIR.convert("a", None, None)


def test_time_option() -> None:
    assert SINCE.convert("2026-11-22", None, None).seconds == 1_795_305_600
    assert SINCE.convert("2026-11-22T01:00:00+01:00", None, None).seconds == 1_795_305_600
    assert UNTIL.convert("1h", None, None).seconds - SINCE.convert("1h", None, None).seconds in (7200, 7201)
    with pytest.raises(click.BadParameter):
        SINCE.convert("yesterday", None, None)
