"""What a machine costs us at its provider, by the provider's clock: pure arithmetic, cumulative like charges.

Providers bill in three ways. Most take the full price from creation to end. Some take a standby price (storage) as long
as the machine exists, and the full one only while it runs: how long it ran is their word, carried on by ours between
two looks. Some take money in advance, a unit at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.domain.billing import SECOND, cost
from controlplane.domain.records import replace


@dataclass(frozen=True, slots=True)
class ProviderMeter:
    """One machine's meter. Times are microseconds, prices nano-units per hour."""

    price: int
    since: int  # when the provider began to bill at this price
    standby: int | None = None  # while it does not run; None: `price`, whether it runs or not
    ran_us: int = 0  # at full price between `since` and `ran_at`
    ran_at: int = 0  # when that was told
    running: bool = False  # it has gone on running since then
    paid_until: int | None = None  # paid in advance; what it costs does not depend on when it ends
    billed_nano: int | None = None  # in all, refunds taken off, as the provider tells it
    base_nano: int = 0  # spent before `since`, at other prices
    ran_before_us: int = 0  # at full price before `since`
    prepaid_s: int = 0  # what is paid in advance at a time
    asked_at: int | None = None  # when the next unit was last about to be paid, while that does not show

    def begun(self, at: int) -> ProviderMeter:
        """Of a machine that the provider made at `at`."""
        paid = at + self.prepaid_s * SECOND if self.prepaid_s else None
        return replace(self, since=at, ran_at=at, paid_until=paid)

    def extended(self, seconds: int) -> ProviderMeter:
        """Paid for longer."""
        if self.paid_until is None:
            return self
        paid = None if self.billed_nano is None else self.billed_nano + cost(self.price, 0, seconds * SECOND)
        return replace(self, paid_until=self.paid_until + seconds * SECOND, billed_nano=paid, asked_at=None)

    def total(self, until: int) -> int:
        """The cost from the beginning to `until`, in nano-units."""
        if self.billed_nano is not None:
            return self.billed_nano
        if self.paid_until is not None:
            return cost(self.price, self.since, self.paid_until)
        if self.standby is None:
            return self.base_nano + cost(self.price, self.since, until)
        ran = self.ran_us + (max(0, until - self.ran_at) if self.running else 0)
        return self.base_nano + cost(self.standby, self.since, until) + cost(self.price - self.standby, 0, ran)

    def seen(
        self, now: int, *, running: bool, running_s: float | None, created_at: int | None, paid_until: int | None,
        price: int | None, standby: int | None = None, billed_nano: int | None = None, first: bool = False,
    ) -> ProviderMeter:  # fmt: skip
        """As the provider tells it now. `created_at` and `running_s` are its clock; what it does not tell stays. At the
        `first` look, before anything was posted, the prices told are those from the beginning on."""
        meter = self
        if created_at is not None and not self.base_nano:
            paid = None if meter.paid_until is None else meter.paid_until + created_at - meter.since
            meter = replace(meter, since=created_at, paid_until=paid)
        price = price if price is not None and price > 0 else self.price
        standby = standby if standby is not None and self.standby is not None and standby >= 0 else self.standby
        if (price, standby) != (self.price, self.standby) and (first or self.paid_until is None):
            at = meter if first else meter._closed(now)
            meter = replace(at, price=price, standby=None if standby is None else min(standby, price))
        if paid_until is not None and self.prepaid_s:
            # Whole units are paid. What the provider says of the end wobbles with its clock; it tells how many.
            units = max(1, round((paid_until - meter.since) / (self.prepaid_s * SECOND)))
            told = meter.since + units * self.prepaid_s * SECOND
            if told > (meter.paid_until or 0):
                meter = replace(meter, paid_until=told, asked_at=None)
        if billed_nano is not None and self.prepaid_s:
            meter = replace(meter, billed_nano=billed_nano)
        if running_s is not None and self.standby is not None:
            # A clock that runs on between looks is not rewritten for less than a second: rows would change for ever.
            told = round(running_s * SECOND) - self.ran_before_us
            carried = self.ran_us + (now - self.ran_at if self.running else 0)
            if running is not self.running or abs(told - carried) >= SECOND // 2:
                meter = replace(meter, ran_us=told, ran_at=now, running=running)
        return meter

    def _closed(self, now: int) -> ProviderMeter:
        """With all that was spent until now in its base, ready for another price."""
        ran = self.ran_us + (max(0, now - self.ran_at) if self.running else 0)
        return replace(
            self, since=now, base_nano=self.total(now), ran_us=0, ran_at=now, ran_before_us=self.ran_before_us + ran
        )
