"""OpenSSH public keys by asyncssh."""

from __future__ import annotations

import asyncio

import asyncssh

from controlplane.ports.ssh import ParsedSshKey

LONGEST = 16_384  # characters; an RSA key of 16384 bits has 2750


class AsyncsshKeyParser:
    """Accepts ed25519, ECDSA, RSA of at least 2048 bits, and their security-key forms."""

    async def parse(self, line: str) -> ParsedSshKey | None:
        """In a thread: big RSA keys take milliseconds to check."""
        return await asyncio.to_thread(self._parse, line) if len(line) <= LONGEST else None

    @staticmethod
    def _parse(line: str) -> ParsedSshKey | None:
        words = line.strip().split()
        if len(words) < 2 or "\n" in line.strip() or not words[0].startswith(("ssh-", "ecdsa-", "sk-")):
            return None
        bare = " ".join(words[:2])
        try:
            key = asyncssh.import_public_key(bare)
            fingerprint = key.get_fingerprint("sha256")
        except (asyncssh.KeyImportError, ValueError, TypeError):
            return None
        if words[0] == "ssh-dss" or (words[0] == "ssh-rsa" and getattr(key.pyca_key, "key_size", 0) < 2048):
            return None
        return ParsedSshKey(bare, fingerprint)
