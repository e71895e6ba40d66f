"""What an account used and what it costs, summed by time and group, page by page."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from controlplane.domain.billing import HOUR, SECOND
from controlplane.domain.errors import invalid
from controlplane.domain.ledger import LedgerKind
from controlplane.domain.principal import Scope
from controlplane.ports.store import UsageQuery, UsageRow
from controlplane.usecases.core import Core
from controlplane.usecases.tokens import Tokens

DAY = 24 * HOUR
DEFAULT_RANGE = 30 * DAY
MAX_BUCKETS = 10_000
BUCKETS = {"hour": HOUR, "day": DAY, "week": 7 * DAY, "month": 28 * DAY}
"""Every bucket, and the least that one of it lasts."""


@dataclass(frozen=True, slots=True)
class UsageRange:
    """The half-open range that a caller asks for; `fields` is what its API calls the two ends."""

    start: int | None = None
    end: int | None = None
    fields: tuple[str, str] = ("start_time", "end_time")

    def within(self, now: int, default_start: Callable[[int], int]) -> tuple[int, int]:
        """The range with its defaults. Raises InvalidArgument."""
        first, last = self.fields
        end = now if self.end is None else self.end
        start = max(0, default_start(end)) if self.start is None else self.start
        for field, at in ((first, start), (last, end)):
            if at < 0:
                raise invalid(field, "must not lie before 1970", _time(at))
        if start > end:
            rule = "must not lie in the future" if self.end is None else f"must not lie after {last}"
            raise invalid(first, rule, _time(start))
        if end >= 253_402_300_800 * SECOND:
            raise invalid(last, "must lie before the year 10000", _time(end))
        return start, end


@dataclass(frozen=True, slots=True)
class UsageAsk:
    """Which sums; `group` is a column of LedgerEntry or empty."""

    range: UsageRange
    bucket: str = "day"
    group: str = ""


async def usage_page(
    core: Core, tokens: Tokens, account: Scope, ask: UsageAsk, size: int, token: str
) -> tuple[list[UsageRow], str]:
    """A page of the account's charges, oldest first, and the token of the next. Buckets without use have no row."""
    key = ("usage", account.account_id, repr(ask.range.start), repr(ask.range.end), ask.bucket, ask.group)
    # The token keeps "now" of the first page; else entries would move between pages.
    after = tokens.read_page(token, key) if token else None
    now = int(after[0]) if after else core.clock.now()
    start, end = ask.range.within(now, lambda end: end - DEFAULT_RANGE)
    if (end - start) // BUCKETS[ask.bucket] + 1 > MAX_BUCKETS:
        first, last = ask.range.fields
        rule = f"must leave at most {MAX_BUCKETS} buckets of one {ask.bucket} before "
        raise invalid(first, rule + ("now" if ask.range.end is None else last), _time(start))
    rows = await core.store.usage(account, UsageQuery(LedgerKind.CHARGE, start, end, ask.bucket, ask.group))
    skip = bisect_right(rows, (int(after[1]), after[2]), key=_position) if after else 0
    shown, more = rows[skip : skip + size], skip + size < len(rows)
    if not more:
        return shown, ""
    at, group = _position(shown[-1])
    return shown, tokens.page(key, str(now), str(at), group)


def _time(at: int) -> str:
    """A time as callers write it, for refusals."""
    try:
        shown = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
    except OverflowError:
        return f"{abs(at) // SECOND} s {'before' if at < 0 else 'after'} 1970"
    return shown.isoformat().replace("+00:00", "Z")


def _position(row: UsageRow) -> tuple[int, str]:
    return row.bucket_at, row.group
