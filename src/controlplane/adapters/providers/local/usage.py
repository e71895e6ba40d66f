"""How busy machines are: processor time between two looks, SSH sessions as the agent counts them."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.ports.clock import Clock
from controlplane.ports.provider import Utilisation
from controlplane.sandbox.control import ask_sessions
from controlplane.sandbox.machines import Machines
from controlplane.sandbox.records import Record

_ANSWER_TIMEOUT_S = 0.5
_SHORTEST_SPAN_S = 1.0  # shorter ones would mostly measure the kernel's ticks


@dataclass(frozen=True, slots=True)
class _Look:
    at: float
    cpu_ns: int
    percent: float | None


class Usage:
    """Remembers the last look at each machine; a restart forgets, and the next look then starts afresh."""

    def __init__(self, machines: Machines, clock: Clock) -> None:
        self._machines = machines
        self._clock = clock
        self._looks: dict[str, _Look] = {}
        self._answered: set[str] = set()

    async def of(self, record: Record, cpu_ns: int | None) -> Utilisation:
        """Utilisation of a running machine."""
        sessions = await ask_sessions(self._machines.control_socket(record.label), _ANSWER_TIMEOUT_S)
        if sessions is not None:
            self._answered.add(record.label)
        return Utilisation(cpu_percent=self._percent(record.label, cpu_ns), ssh_sessions=sessions)

    def has_answered(self, label: str) -> bool:
        """Whether its agent ever answered, which it does once it accepts SSH clients."""
        return label in self._answered

    def forget(self, label: str) -> None:
        """The machine is gone."""
        self._looks.pop(label, None)
        self._answered.discard(label)

    def _percent(self, label: str, cpu_ns: int | None) -> float | None:
        if cpu_ns is None:
            return None
        before, now = self._looks.get(label), self._clock.monotonic()
        if before is None:
            self._looks[label] = _Look(now, cpu_ns, None)
            return None
        span = now - before.at
        if span < _SHORTEST_SPAN_S:
            return before.percent
        percent = max(0.0, round((cpu_ns - before.cpu_ns) / span / 1e7, 1))
        self._looks[label] = _Look(now, cpu_ns, percent)
        return percent
