"""The port to what must stay secret."""

from __future__ import annotations

from typing import Protocol


class Secrets(Protocol):
    """Derives and protects secrets under the deployment's master key."""

    def derive(self, purpose: str, id: str) -> bytes:
        """32 bytes that only this deployment can compute, the same every time: keys that need no storage."""
        ...

    def seal(self, purpose: str, id: str, secret: bytes) -> str:
        """Encrypt for storage; only `open` with the same purpose and id gives it back."""
        ...

    def open(self, purpose: str, id: str, sealed: str) -> bytes:
        """What `seal` was given. Raises ValueError when it was sealed for something else or under another key."""
        ...

    def sign(self, purpose: str, payload: bytes) -> bytes:
        """A short authentication tag for tokens handed to clients."""
        ...
