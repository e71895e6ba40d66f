"""What the hub needs from the wire format; bootstrap hands in `wire.event`, so that the core imports no protobuf."""

from __future__ import annotations

from typing import Protocol


class StreamMessages(Protocol):
    """Serialized watch messages; see wire/event.py."""

    @property
    def coalesced_operation(self) -> bytes:
        """Appended to an operation event that stands for several."""
        ...

    @property
    def operation_bookmark(self) -> bytes:
        """A sign of life on an operation stream."""
        ...

    def suffix(self, token: str, *, coalesced: bool) -> bytes:
        """Appended to a stored instance event."""
        ...

    def snapshot(self, instance: bytes, token: str) -> bytes:
        """The first message of an instance stream."""
        ...

    def bookmark(self, token: str) -> bytes:
        """A sign of life that moves the resume point."""
        ...

    def end(self, reason: str, message: str, token: str) -> bytes:
        """The last message of an instance stream."""
        ...

    def operation_snapshot(self, operation: bytes) -> bytes:
        """The first message of an operation stream."""
        ...

    def operation_end(self, reason: str, message: str) -> bytes:
        """The last message of an operation stream."""
        ...
