"""A circuit breaker: a provider that hangs on every call must not hold those who ask it."""

from __future__ import annotations

import structlog

from controlplane.adapters.providers.http.errors import Held
from controlplane.ports.clock import Clock

FAILURES = 5
OPEN_S = 20.0

log = structlog.get_logger()


class Breaker:
    """Opens after some failures in a row; then calls fail at once, but for one that probes now and then."""

    def __init__(self, provider: str, clock: Clock) -> None:
        self._provider = provider
        self._clock = clock
        self._failures = 0
        self._probe_at: float | None = None  # open: when the next call may try
        self.since: int | None = None
        """Since when the provider has been out (microseconds); None: it is not."""
        self.reason = ""
        """What its last failure was, for operators."""

    @property
    def open(self) -> bool:
        """Whether the provider is out."""
        return self.since is not None

    def enter(self) -> bool:
        """Whether the next call is the one that tries; the others wait for what it finds."""
        if self._probe_at is None or self._clock.monotonic() < self._probe_at:
            return False
        self._probe_at = self._clock.monotonic() + OPEN_S
        return True

    def check(self, *, tries: bool) -> None:
        """Raises Held while the provider is out, unless this call `tries` or it is time for one that does."""
        if self._probe_at is None or tries:
            return
        after_s = self._probe_at - self._clock.monotonic()
        if after_s > 0:
            raise Held(f"the provider is out: {self.reason}", retry_after_s=after_s)

    def succeeded(self) -> None:
        """It answered."""
        if self.since is not None:
            lasted = (self._clock.now() - self.since) / 1_000_000
            log.info("provider.back", provider=self._provider, outage_s=round(lasted, 1))
        self._failures, self._probe_at, self.since, self.reason = 0, None, None, ""

    def failed(self, reason: str) -> None:
        """It did not answer, or only to say that it is broken."""
        self._failures += 1
        self.reason = reason
        if self._failures < FAILURES:
            return
        if self.since is None:
            self.since = self._clock.now()
            log.warning("provider.out", provider=self._provider, reason=reason, failures=self._failures)
        self._probe_at = self._clock.monotonic() + OPEN_S
