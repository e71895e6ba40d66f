"""Secrets under one master key of 32 bytes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

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

    def seal(self, purpose: str, id: str, secret: bytes) -> str:
        """AES-256-GCM; purpose and id are authenticated with it. The leading `1.` names the key's generation."""
        nonce = os.urandom(12)
        sealed = AESGCM(self.derive("seal", purpose)).encrypt(nonce, secret, f"{purpose}\0{id}".encode())
        return "1." + base64.b64encode(nonce + sealed).decode()

    def open(self, purpose: str, id: str, sealed: str) -> bytes:
        """What `seal` was given."""
        raw = base64.b64decode(sealed.removeprefix("1."))
        try:
            return AESGCM(self.derive("seal", purpose)).decrypt(raw[:12], raw[12:], f"{purpose}\0{id}".encode())
        except InvalidTag:
            raise ValueError("sealed for something else, or under another master key") from None

    def sign(self, purpose: str, payload: bytes) -> bytes:
        """A tag of 12 bytes."""
        return hmac.digest(self._key, f"sign\0{purpose}\0".encode() + payload, hashlib.sha256)[:12]


def load_master_key(path: Path) -> bytes:
    """The key in a file (mode 0600), made at first start."""
    if not path.exists():
        write_private(path, os.urandom(32).hex())
    return bytes.fromhex(path.read_text().strip())
