"""Secrets under one master key of 32 bytes."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

from controlplane.files import write_private


class MasterKeySecrets:
    """Derives by HMAC-SHA256, which is a PRF: what one purpose shows says nothing about another."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != 32:
            raise ValueError("the master key must have 32 bytes")
        self._key = master_key

    def derive(self, purpose: str, id: str) -> bytes:
        """32 bytes for that purpose and id."""
        return hmac.digest(self._key, f"derive\0{purpose}\0{id}".encode(), hashlib.sha256)

    def sign(self, purpose: str, payload: bytes) -> bytes:
        """A tag of 12 bytes."""
        return hmac.digest(self._key, f"sign\0{purpose}\0".encode() + payload, hashlib.sha256)[:12]


def load_master_key(path: Path) -> bytes:
    """The key in a file (mode 0600), made at first start."""
    if not path.exists():
        write_private(path, os.urandom(32).hex())
    return bytes.fromhex(path.read_text().strip())
