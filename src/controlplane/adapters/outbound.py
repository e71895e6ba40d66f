"""The guard before every call to an address that a user gave.

A name is resolved once, all its addresses are judged, and the judged address itself is dialled: a name that changes
between check and call (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

RESOLVE_S = 3.0
RESOLVERS = 8

_LOOPBACK_OR_PRIVATE = [
    ipaddress.ip_network(text)
    for text in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
]
_METADATA = {ipaddress.ip_address(text) for text in ("168.63.129.16", "100.100.100.200", "fd00:ec2::254")}
"""Clouds' own services at addresses that look public or private; the others stand on link-local ones."""

_GLOBAL_V6 = ipaddress.ip_network("2000::/3")
_SPECIAL = [
    ipaddress.ip_network(text)
    # Those that Python's tables lack in some releases, and IPv4 in disguise: 6to4, Teredo.
    for text in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
]


class Refused(Exception):
    """This URL is never called; the text is a rule for its owner."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call goes: the judged address, and what stands in the URL."""

    scheme: str
    host: str
    port: int
    address: str
    path: str  # with the query

    @property
    def authority(self) -> str:
        """The Host header: the name, and the port unless it is the scheme's own."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _PORTS[self.scheme] else f"{name}:{self.port}"

    @property
    def url(self) -> str:
        """The URL with the address in the name's place."""
        name = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{name}:{self.port}{self.path}"


_PORTS = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Awaitable[list[str]]]


class AddressGuard:
    """`UrlGuard`, and the one way to a Target. `allow_private` admits loopback and private networks, also by http;
    metadata services, link-local, multicast and reserved addresses are never called."""

    def __init__(self, allow_private: bool = False, resolve: Resolve | None = None) -> None:
        self._allow_private = allow_private
        self._resolve = resolve or self._look_up
        # Of its own: names that never resolve must not use up the threads that others share.
        self._threads = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolver")

    async def refusal(self, url: str) -> str:
        """See `UrlGuard.refusal`."""
        if "#" in url:
            return "must not hold a fragment"  # nobody would get it
        try:
            await self.target(url)
        except Refused as error:
            return str(error)
        except OSError:
            return ""  # it does not resolve now
        return ""

    async def target(self, url: str) -> Target:
        """Where a call to the URL goes. Raises Refused, or OSError when the name does not resolve in time."""
        parts, host, port = self._parse(url)
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await self._resolve(host, port)
        except UnicodeError:
            raise Refused("must name a host") from None
        if not found:
            raise OSError("its name does not resolve")
        addresses = [ipaddress.ip_address(text) for text in found]
        for address in addresses:
            self._judge(parts.scheme, address)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Target(parts.scheme, host, port, str(addresses[0]), path)

    def _parse(self, url: str) -> tuple[SplitResult, str, int]:
        if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
            raise Refused("must be a URL of printable ASCII characters without spaces or backslashes")
        try:
            parts = urlsplit(url)
            # Resolvers, certificates and Host headers disagree about the dot that ends a name.
            host, port = (parts.hostname or "").removesuffix("."), parts.port
        except ValueError:
            raise Refused("must be a URL such as https://example.com/hook") from None
        schemes = ("https", "http") if self._allow_private else ("https",)
        if parts.scheme not in schemes:
            raise Refused(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        if not host or host.endswith(".") or "%" in host:
            raise Refused("must name a host")
        if "@" in parts.netloc:
            raise Refused("must not hold a user name or password")
        if port == 0:
            raise Refused("must not name port 0")
        return parts, host, port or _PORTS[parts.scheme]

    def _judge(self, scheme: str, address: Address) -> None:
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        private = any(address in network for network in _LOOPBACK_OR_PRIVATE)
        if address in _METADATA or not (private or _is_public(address)):
            raise Refused("must not lead to a link-local, multicast, reserved or metadata address")
        if private and not self._allow_private:
            raise Refused("must not lead to a loopback or private address")
        if not private and scheme != "https":
            raise Refused("must begin with https://, but for loopback and private addresses")

    async def _look_up(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            )
        except socket.gaierror as error:
            raise OSError("its name does not resolve") from error
        return [str(entry[4][0]) for entry in found]


def _is_public(address: Address) -> bool:
    if any(address in network for network in _SPECIAL) or (address.version == 6 and address not in _GLOBAL_V6):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved
