"""Randomness as a port, so that a simulation can repeat it."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID


class Ids(Protocol):
    """Identifiers and entropy."""

    def uuid7(self) -> UUID:
        """A new UUIDv7: sorts by creation time."""
        ...

    def entropy(self, size: int) -> bytes:
        """Random bytes fit for secrets."""
        ...

    def jitter(self) -> float:
        """A random fraction, 0 <= x < 1, for back-off."""
        ...
