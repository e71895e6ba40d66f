"""Money as integer nano-units of a currency; never a float."""

from __future__ import annotations

from decimal import Decimal

NANO = 1_000_000_000


def nano(amount: str | Decimal | int) -> int:
    """Nano-units of a decimal amount: nano("0.45") == 450_000_000. Digits beyond the ninth are cut."""
    return int(Decimal(amount) * NANO)


def text(nano_units: int, currency: str) -> str:
    """For people: `0.45 USD`; at least two decimals, no trailing zeros beyond them."""
    sign = "-" if nano_units < 0 else ""
    whole, rest = divmod(abs(nano_units), NANO)
    digits = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits} {currency}"
