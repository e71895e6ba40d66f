"""How well the process is, as servicers see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Check:
    """What one part said. `vital`: without it the server cannot work at all."""

    name: str
    healthy: bool
    seconds: float = 0.0
    message: str = ""
    vital: bool = False


class Vitals(Protocol):
    """How well the process is; bootstrap knows its parts."""

    @property
    def ready(self) -> bool:
        """Whether the server takes work: started, and not stopping."""
        ...

    @property
    def swept(self) -> bool:
        """Whether each provider that this process watches was asked, since it started, for what it runs."""
        ...

    async def checks(self) -> Sequence[Check]:
        """Look at store, loops and providers. Callers need no key: it must be bounded, and may be a second old."""
        ...

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        ...


def services_of(vitals: Vitals, checks: Sequence[Check]) -> Mapping[str, str]:
    """The parts of the server in GPU Shopper's words: `lifecycle` running or stopped, `inventory` ok or unavailable,
    `ready` true or false."""
    ready = vitals.ready and vitals.swept
    works = ready and all(check.healthy for check in checks if check.vital)
    markets = [check.healthy for check in checks if check.name.startswith("provider:")]
    return {
        "lifecycle": "running" if works else "stopped",
        "inventory": "ok" if any(markets) or not markets else "unavailable",
        "ready": "true" if ready else "false",
    }


class NoVitals:
    """Of a server that nobody looks after: it is well."""

    ready = True
    swept = True

    async def checks(self) -> Sequence[Check]:
        """See Vitals."""
        return ()

    def exposition(self) -> bytes:
        """See Vitals."""
        return b""
