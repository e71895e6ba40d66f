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
    base_nano: int = 0  # spent before `since`, at other prices
    ran_before_us: int = 0  # at full price before `since`

    def total(self, until: int) -> int:
        """The cost from the beginning to `until`, in nano-units."""
        if self.paid_until is not None:
            return self.base_nano + cost(self.price, self.since, self.paid_until)
        if self.standby is None:
            return self.base_nano + cost(self.price, self.since, until)
        ran = self.ran_us + (max(0, until - self.ran_at) if self.running else 0)
        return self.base_nano + cost(self.standby, self.since, until) + cost(self.price - self.standby, 0, ran)

    def seen(
        self, now: int, *, running: bool, running_s: float | None, created_at: int | None, paid_until: int | None,
        price: int | None,
    ) -> ProviderMeter:  # fmt: skip
        """As the provider tells it now. `created_at` and `running_s` are its clock; what it does not tell stays."""
        meter = self
        if created_at is not None and not self.base_nano:
            meter = replace(meter, since=created_at)
        if price is not None and price != self.price and price > 0:
            meter = meter._repriced(now, price)
        if paid_until is not None:
            meter = replace(meter, paid_until=max(paid_until, meter.paid_until or 0))
        if running_s is not None and self.standby is not None:
            # A clock that runs on between looks is not rewritten for less than a second: rows would change for ever.
            told = round(running_s * SECOND) - self.ran_before_us
            carried = self.ran_us + (now - self.ran_at if self.running else 0)
            if running is not self.running or abs(told - carried) >= SECOND // 2:
                meter = replace(meter, ran_us=told, ran_at=now, running=running)
        return meter

    def _repriced(self, now: int, price: int) -> ProviderMeter:
        """At another price from now on."""
        ran = self.ran_us + (max(0, now - self.ran_at) if self.running else 0)
        return replace(
            self, price=price, since=now, base_nano=self.total(now), ran_us=0, ran_at=now,
            ran_before_us=self.ran_before_us + ran,
            standby=None if self.standby is None else min(self.standby, price),
        )  # fmt: skip
