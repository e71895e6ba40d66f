"""Machines that a marketplace may not know yet although it made them, or still shows although they ended."""

from __future__ import annotations

from controlplane.ports.clock import Clock

_MOST = 10_000


class Ended:
    """Machines whose end was confirmed to us; lists may go on showing them."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def add(self, machine_id: str) -> None:
        """It has ended."""
        self._ids[machine_id] = None
        if len(self._ids) > _MOST:
            del self._ids[next(iter(self._ids))]

    def __contains__(self, machine_id: str) -> bool:
        return machine_id in self._ids


class Newborns:
    """Tells a machine that cannot be found yet from one that cannot be found any more: for `patience_s` after its
    creation a 404 may be either.

    Other processes create machines, too: one that was never met here counts as new from the first question about it.
    """

    def __init__(self, clock: Clock, patience_s: float) -> None:
        self._clock = clock
        self._patience = int(patience_s * 1_000_000)
        self._known_at: dict[str, int] = {}  # from when on a 404 means something

    def created(self, machine_id: str) -> None:
        """It was made just now."""
        self._keep(machine_id, self._clock.now() + self._patience)

    def met(self, machine_id: str) -> None:
        """The provider knows it."""
        self._keep(machine_id, 0)

    def may_be(self, machine_id: str) -> bool:
        """Whether a 404 about it says nothing yet."""
        if machine_id not in self._known_at:
            self.created(machine_id)
        return self._clock.now() < self._known_at[machine_id]

    def _keep(self, machine_id: str, known_at: int) -> None:
        self._known_at[machine_id] = known_at
        if len(self._known_at) > _MOST:
            del self._known_at[next(iter(self._known_at))]  # the oldest; forgetting only makes patient
