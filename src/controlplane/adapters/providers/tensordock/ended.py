"""Machines that ended, and that lists may go on showing."""

from __future__ import annotations

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
