"""How much of something is left to rent, and how much of it a marketplace still shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from controlplane.simulators.faults import Faults


@dataclass(slots=True)
class Stock:
    """Units of one kind. Times are epoch seconds."""

    free_units: int
    _rivals: list[tuple[float, int]] = field(default_factory=list)  # (until, units) that somebody else rents
    _shown: int = 0  # units that were free before the last of them went
    _shown_until: float = 0.0

    def free(self, now: float) -> int:
        """What can be rented."""
        self._rivals = [(until, units) for until, units in self._rivals if until > now]
        return max(0, self.free_units - sum(units for _, units in self._rivals))

    def listed(self, now: float) -> int:
        """What a search shows: more than is free while the inventory is stale."""
        return max(self.free(now), self._shown) if now < self._shown_until else self.free(now)

    def take(self, units: int, now: float, faults: Faults) -> None:
        """Rent some out."""
        self._age(now, faults)
        self.free_units -= units

    def give(self, units: int) -> None:
        """They are free again."""
        self.free_units += units

    def lose_to_rival(self, now: float, faults: Faults) -> None:
        """Somebody else rents all that is free, for `rival_s`."""
        self._age(now, faults)
        units = self.free(now)
        self._rivals.append((now + faults.rival_s, units))

    def withdraw(self, now: float, faults: Faults) -> None:
        """Nothing is free from now on but what comes back."""
        self._age(now, faults)
        self.free_units = 0

    def _age(self, now: float, faults: Faults) -> None:
        if faults.stale_inventory_s:
            self._shown = self.listed(now)
            self._shown_until = now + faults.stale_inventory_s


def usd(nano: int) -> float:
    """Nano-dollars as the dollars of a JSON answer."""
    return nano / 1_000_000_000


def raised(nano: int, faults: Faults) -> int:
    """A price after a rise."""
    return nano + nano * round(faults.price_rise_percent * 100) // 10_000
