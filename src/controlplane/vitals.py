"""How well this process is: the checks behind /health, and the gauges that are read rather than counted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from controlplane.api.dialects.shopper.translate import STATES
from controlplane.api.vitals import Check
from controlplane.domain.billing import SECOND
from controlplane.domain.errors import PlaneError
from controlplane.metrics import Metrics
from controlplane.ports.store import LiveCount, Store
from controlplane.reconcile.loop import InstanceLoop
from controlplane.reconcile.sweep import Sweeper

FRESH_S = 1.0  # checks are not repeated within this time, whoever asks
LAG_PROBE_S = 0.5
GAUGES_S = 5.0
STALLED_S = 15.0


class ProcessVitals:
    """Looks at store, loops, providers and edge."""

    def __init__(
        self, store: Store, loop: InstanceLoop, sweepers: Sequence[Sweeper], edge: Callable[[], Awaitable[bool]] | None,
        metrics: Metrics,
    ) -> None:  # fmt: skip
        self.ready = False
        self._store = store
        self._loop = loop
        self._sweepers = sweepers
        self._edge = edge
        self._metrics = metrics
        self._found: tuple[float, list[Check]] = (0.0, [])
        self._looking: asyncio.Lock = asyncio.Lock()

    @property
    def swept(self) -> bool:
        """See api.vitals.Vitals. A process that sweeps nothing relies on the one that does."""
        return all(sweeper.report.asked for sweeper in self._sweepers)

    def exposition(self) -> bytes:
        """See api.vitals.Vitals."""
        return self._metrics.exposition()

    async def checks(self) -> Sequence[Check]:
        """All checks, at most FRESH_S old."""
        async with self._looking:
            if time.monotonic() - self._found[0] > FRESH_S:
                found = [await self._timed("database", self._database, vital=True), self._reconciler()]
                if self._edge is not None:
                    found.append(await self._timed("edge", self._edge_up))
                found += [self._provider(sweeper) for sweeper in self._sweepers]
                self._found = (time.monotonic(), found)
            return self._found[1]

    async def _timed(self, name: str, look: Callable[[], Awaitable[str]], *, vital: bool = False) -> Check:
        began = time.monotonic()
        try:
            async with asyncio.timeout(5):
                message = await look()
        except TimeoutError:
            message = "no answer within 5 s"
        return Check(name, not message, time.monotonic() - began, message, vital)

    async def _database(self) -> str:
        try:
            await self._store.check()
        except PlaneError as error:
            return error.message
        return ""

    async def _edge_up(self) -> str:
        assert self._edge is not None
        return "" if await self._edge() else "Envoy does not answer"

    def _reconciler(self) -> Check:
        last = self._loop.last_claim_at
        stalled = last is None or time.monotonic() - last > STALLED_S
        return Check("reconciler", not stalled, 0.0, "no work was claimed for a while" if stalled else "", vital=True)

    @staticmethod
    def _provider(sweeper: Sweeper) -> Check:
        failed = sweeper.report.failed
        message = "the provider cannot be asked" if failed else ""
        return Check(f"provider:{sweeper.provider.name}", not failed, 0.0, message)

    async def refresh_gauges(self) -> None:
        """Bring the gauges that are read from the store up to date, for ever."""
        while True:
            with contextlib.suppress(PlaneError):
                self._gauges(await self._store.live_counts())
            await asyncio.sleep(GAUGES_S)

    def _gauges(self, counts: Sequence[LiveCount]) -> None:
        metrics, now = self._metrics, time.time()
        metrics.sessions_active.clear()
        ages = {sweeper.provider.name: 0.0 for sweeper in self._sweepers}
        for row in counts:
            metrics.sessions_active.labels(row.provider, STATES[row.state]).inc(row.count)
            if row.ending_since:
                ages[row.provider] = max(ages.get(row.provider, 0.0), now - row.ending_since / SECOND)
        for provider, age in ages.items():
            metrics.destroy_age.labels(provider).set(age)
        for sweeper in self._sweepers:
            metrics.provider_up.labels(sweeper.provider.name).set(not sweeper.report.failed)
            metrics.orphans_now.labels(sweeper.provider.name).set(sweeper.report.orphans)
            metrics.foreign_now.labels(sweeper.provider.name).set(sweeper.report.foreign)

    async def probe_lag(self) -> None:
        """Measure how late the event loop is, for ever."""
        recent: deque[float] = deque(maxlen=int(60 / LAG_PROBE_S))
        while True:
            due = time.monotonic() + LAG_PROBE_S
            await asyncio.sleep(LAG_PROBE_S)
            recent.append(max(0.0, time.monotonic() - due))
            self._metrics.loop_lag.set(recent[-1])
            self._metrics.loop_lag_max.set(max(recent))
