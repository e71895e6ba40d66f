"""What the shopper's servicers act on, in memory, and what they are called with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from controlplane.adapters.store.memory import MemoryDisk, MemoryStore
from controlplane.api.vitals import Check
from controlplane.domain.account import Account
from controlplane.domain.offer import Offer, Tier
from controlplane.domain.principal import ALL, Principal
from controlplane.ports.store import Get, UnitOfWork
from controlplane.usecases.offerbook import OfferBook
from tests.support.fakes import START, FakeClock, FakeIds

ACCOUNT = "acct_a"


def offer(id: str, price: float = 1.0, **changes: Any) -> Offer:
    fields: dict[str, Any] = {
        "id": id, "provider": id.partition("-")[0], "gpu_type": "RTX 4090", "gpu_count": 1, "vram_gb": 24,
        "cpu_count": 8, "memory_gb": 64, "disk_gb": 100, "region": "na", "location": "US-West",
        "tier": Tier.ON_DEMAND, "price_nano_per_hour": round(price * 10**9), "currency": "USD", "available": 1,
        "seen_at": START, "reliability": 0.98, "cuda_version": 13.0,
    } | changes  # fmt: skip
    return Offer(**fields)


class Vitals:
    """As told."""

    def __init__(self, ready: bool = True, swept: bool = True, *checks: Check) -> None:
        self.ready, self.swept, self._checks = ready, swept, checks

    async def checks(self) -> tuple[Check, ...]:
        return self._checks

    def exposition(self) -> bytes:
        return b"gpu_sessions_active 1\n"


class World:
    """A store and a market; `plane` is what servicers are made of."""

    def __init__(self, vitals: Vitals | None = None, currency: str = "USD") -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(MemoryDisk(), self.clock, FakeIds(1, self.clock))
        self.book = OfferBook()
        self.core = SimpleNamespace(
            store=self.store, clock=self.clock, offers=self.book, providers={"local": None, "vastai": None}
        )
        self.plane: Any = SimpleNamespace(core=self.core, vitals=vitals or Vitals())
        self._currency = currency

    async def put(self, *rows: Any) -> None:
        def decide(tx: Any) -> None:
            for row in (Account(ACCOUNT, "a", self._currency, 10, START), *rows):
                tx.put(row)

        loads = [Get(Account, ACCOUNT), *(Get(type(row), row.id) for row in rows)]
        await self.store.run(UnitOfWork(ALL, loads, decide))

    def sell(self, *offers: Offer) -> None:
        for provider in {each.provider for each in offers}:
            self.book.update(provider, tuple(o for o in offers if o.provider == provider), self.clock.now())


class FakeCall:
    """A call of the account's; what REST would show is in `status`."""

    def __init__(self) -> None:
        self.principal = Principal(ACCOUNT, "key", frozenset())
        self.status = 200

    def set_http_status(self, code: int) -> None:
        self.status = code
