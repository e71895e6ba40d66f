"""What stands behind the machines that a simulated marketplace rents out."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

_OPTIONS = r'(?:command="[^"\n]*"(?:,[a-z-]+)* )?'  # what else a key may do is not understood here
_TYPES = r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+|sk-ssh-ed25519@openssh\.com)"
_KEY = re.compile(rf"{_OPTIONS}{_TYPES} [A-Za-z0-9+/]{{40,}}={{0,3}}")
_PACKED = re.compile(r"H4sI[A-Za-z0-9+/]{20,}={0,2}")  # gzip in base64
_PACKED_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Address:
    """Where a machine's SSH server is, or what it serves instead."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Service:
    """What a machine without SSH serves over HTTP: a model, to whoever has the key. Both may be empty."""

    model: str
    api_key: str


@dataclass(frozen=True, slots=True)
class Tenancy:
    """What should stand behind one machine now: who may log in as whom, or what it serves instead of SSH, and whether
    its port accepts connections. Another `version` asks for another address.
    """

    machine_id: str
    user: str
    keys: tuple[str, ...]
    listening: bool
    version: int = 1
    service: Service | None = None


class Premises(Protocol):
    """Where rented machines live."""

    def address(self, machine_id: str, version: int) -> Address | None:
        """Where a machine is; None while it has no place yet."""
        ...

    def log(self, machine_id: str) -> str:
        """What the machine itself wrote; empty when it writes nothing."""
        ...

    async def tend(self, tenancies: Sequence[Tenancy]) -> None:
        """Bring what stands in line with what should; machines not named are cleared away."""
        ...

    async def close(self) -> None:
        """Clear everything away."""
        ...


class AddressesOnly:
    """Nothing stands there: machines have addresses of the documentation networks, always the same for the same id."""

    def address(self, machine_id: str, version: int) -> Address | None:
        """See `Premises.address`."""
        mix = zlib.crc32(f"{machine_id}/{version}".encode())
        return Address(f"203.0.113.{mix % 250 + 1}", 20_000 + mix // 250 % 40_000)

    def log(self, machine_id: str) -> str:
        """See `Premises.log`."""
        return ""

    async def tend(self, tenancies: Sequence[Tenancy]) -> None:
        """See `Premises.tend`."""

    async def close(self) -> None:
        """See `Premises.close`."""


def keys_in(script: str) -> tuple[str, ...]:
    """The lines for authorized_keys that a start script holds, packed parts included, without comments. A script runs
    as root of the machine and can do anything; what these simulators understand of it is that it installs keys.
    """
    found = _KEY.findall(script)
    for packed in _PACKED.findall(script):
        found += _KEY.findall(_unpacked(packed))
    return tuple(dict.fromkeys(found))


def public_key(line: str) -> str:
    """An authorized_keys line without its comment; empty when it holds no key."""
    match = _KEY.search(line)
    return match.group(0) if match else ""


def _unpacked(packed: str) -> str:
    try:
        unpacker = zlib.decompressobj(wbits=31)  # gzip
        return unpacker.decompress(base64.b64decode(packed), _PACKED_LIMIT).decode("utf-8", "replace")
    except (binascii.Error, zlib.error):
        return ""
