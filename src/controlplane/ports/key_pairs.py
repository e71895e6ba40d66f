"""The port to key pairs that are made for callers who bring no key of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from controlplane.domain.errors import Unavailable


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An SSH key pair. The private half is shown to its owner once and never stored in the clear."""

    public_line: str  # OpenSSH, `ssh-rsa AAAA...`
    private_pem: str = field(repr=False)  # PKCS#1


class KeyPairs(Protocol):
    """Makes key pairs without holding up anything else."""

    async def take(self) -> KeyPair:
        """A pair that nobody else has. Raises Unavailable when none can be made."""
        ...

    def give_back(self, pair: KeyPair) -> None:
        """A pair that was taken and shown to nobody: it may be taken again."""
        ...


class NoKeyPairs:
    """Where nobody asks for any."""

    async def take(self) -> KeyPair:
        """Never gives one."""
        raise Unavailable("this server makes no key pairs", reason="INTERNAL")

    def give_back(self, pair: KeyPair) -> None:
        """There is nothing to give back to."""
