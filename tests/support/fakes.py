"""Small doubles that are ordinary adapters: a settable clock, repeatable ids, rows with sensible defaults."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from uuid import UUID

from controlplane.domain.billing import BillingPolicy
from controlplane.domain.instance import Instance, Wish
from controlplane.domain.operation import Operation, OperationKind, OperationState

SECOND = 1_000_000
START = 1_767_225_600 * SECOND  # 2026-01-01T00:00:00Z


class FakeClock:
    """A clock that moves when told to."""

    def __init__(self, now: int = START) -> None:
        self.time = now

    def now(self) -> int:
        return self.time

    def monotonic(self) -> float:
        return self.time / SECOND

    async def sleep(self, seconds: float) -> None:
        self.time += int(seconds * SECOND)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self.time += int(seconds * SECOND)


class FakeIds:
    """Ids that are the same in every run."""

    def __init__(self, seed: int = 0, clock: Any = None) -> None:
        self._random = random.Random(seed)
        self._count = 0
        self._clock = clock

    def uuid7(self) -> UUID:
        self._count += 1
        millis = self._clock.now() // 1000 if self._clock else START // 1000
        value = millis << 80 | 7 << 76 | (self._count & 0xFFF) << 64 | 2 << 62 | self._random.getrandbits(62)
        return UUID(int=value)

    def entropy(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def jitter(self) -> float:
        return self._random.random()


def instance(id: str = "inst_1", account_id: str = "acct_a", **changes: Any) -> Instance:
    """An accepted instance."""
    fields: dict[str, Any] = {
        "id": id,
        "account_id": account_id,
        "create_operation_id": f"op-{id}",
        "wish": Wish(offer_id="local-cpu", env={"A": "1"}),
        "billing": BillingPolicy(),
        "currency": "USD",
        "created_at": START,
        "updated_at": START,
    } | changes
    return Instance(**fields)


def operation(id: str = "op-1", account_id: str = "acct_a", instance_id: str = "inst_1", **changes: Any) -> Operation:
    """An accepted create operation."""
    fields: dict[str, Any] = {
        "id": id,
        "account_id": account_id,
        "instance_id": instance_id,
        "kind": OperationKind.CREATE_INSTANCE,
        "state": OperationState.PENDING,
        "created_at": START,
        "updated_at": START,
    } | changes
    return Operation(**fields)
