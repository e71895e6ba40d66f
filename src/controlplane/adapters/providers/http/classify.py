"""What an answer says beside its status: marketplaces put errors where they like."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from controlplane.adapters.providers.http.values import decimal

FUNDS_WORDS = ("credit", "billing", "balance", "payment", "funds")
"""Found in refusals of an account that cannot pay."""

_REASON_FIELDS = ("msg", "message", "detail", "title", "error", "errors")
_DAY_S = 86_400.0  # the longest window that any marketplace documents
_QUOTA = b"quota_exceeded"  # daily quotas begin anew at midnight, UTC


def reason_of(value: Any, depth: int = 0) -> str:
    """What a JSON error says, whichever of the usual shapes it has; empty if it says nothing."""
    if isinstance(value, str):
        return value
    if depth > 4:
        return ""
    if isinstance(value, list):
        return next((text for each in value[:5] if (text := reason_of(each, depth + 1))), "")
    if isinstance(value, dict):
        return next((text for name in _REASON_FIELDS if (text := reason_of(value.get(name), depth + 1))), "")
    return ""


def retry_after_s(headers: Mapping[str, str], body: bytes, now: int) -> float | None:
    """How long an answer of status 429 or 503 asks us to wait (`now`: microseconds); None if it does not say, or says
    not at all, which is no leave to ask again at once."""
    told = headers.get("retry-after")
    wait = _seconds_or_date(told, now) if told else None
    if wait is None:
        reset = decimal(headers.get("x-ratelimit-reset"))
        wait = None if reset is None else _from_reset(float(reset), now)
    if wait is None and _QUOTA in body:
        wait = _DAY_S - now / 1_000_000 % _DAY_S
    return None if wait is None or wait <= 0 else min(wait, _DAY_S)


def _seconds_or_date(text: str, now: int) -> float | None:
    seconds = decimal(text)
    if seconds is not None:
        return float(seconds)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now / 1_000_000


def _from_reset(reset: float, now: int) -> float:
    """Some mean the time of the reset, some the seconds until then."""
    return reset - now / 1_000_000 if reset > datetime(2001, 1, 1, tzinfo=UTC).timestamp() else reset
