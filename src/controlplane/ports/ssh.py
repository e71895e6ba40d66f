"""SSH public keys as a port: parsing them is a library's job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ParsedSshKey:
    """A good public key: `type base64` without options or comment, and its fingerprint in OpenSSH's notation."""

    line: str
    fingerprint: str


class SshKeyParser(Protocol):
    """Checks OpenSSH public keys."""

    async def parse(self, line: str) -> ParsedSshKey | None:
        """The key, or None when the line is not exactly one usable public key without options."""
        ...
