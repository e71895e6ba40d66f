"""Callers without a key, of a dialect that documents none: whoever has a shell on this host, and nobody else.

A loopback address alone proves little: a browser on this host runs scripts of strangers, a name of theirs may be made
to lead here (DNS rebinding), and a proxy here speaks for whoever calls it. Each of those shows in a header, and is told
to send a key.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.domain.errors import Unauthenticated, invalid
from controlplane.domain.principal import Principal

CALLER, FORWARDED = "x-envoy-external-address", "x-forwarded-for"
"""Where Envoy says who called, and through whom: it adds one entry itself."""

PROXIES = ("forwarded", "via", "x-real-ip", "x-forwarded-host")
"""What other proxies add."""

HOST, CONTENT_TYPE = "x-keyless-host", "x-keyless-type"
"""Where Envoy says, on routes of such a dialect, by which host name the call came and with which type of body."""

_NAME = "localhost"


@dataclass(frozen=True, slots=True)
class KeylessCallers:
    """Lets callers in who send no key; all of them are `principal`."""

    principal: Principal

    def admit(self, metadata: Mapping[str, str | bytes]) -> Principal:
        """The principal. Raises Unauthenticated where a key is needed."""
        if "x-dialect" not in metadata:
            raise _refused("over gRPC a key is needed")
        proxied = "," in str(metadata.get(FORWARDED, "")) or any(name in metadata for name in PROXIES)
        if proxied or not _is_loopback(str(metadata.get(CALLER, ""))):
            raise _refused("from another host, or through a proxy, a key is needed")
        if "origin" in metadata or metadata.get("sec-fetch-site", "none") != "none":  # none: typed in by a person
            raise _refused("from a page in a browser a key is needed")
        host = str(metadata.get(HOST, ""))
        if not _is_local_name(host):
            raise _refused(f"under the host name {host[:100]!r} a key is needed")
        kind = str(metadata.get(CONTENT_TYPE, ""))
        if kind and kind.partition(";")[0].strip().lower() != "application/json":
            raise invalid("Content-Type", "must be application/json, unless a key is sent", kind)
        return self.principal


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated(f"no key was sent: {why}; send `Authorization: Bearer <key>`", reason="KEY_MISSING")


def _is_local_name(host: str) -> bool:
    """Whether a host name always means this host: an address, or a name that no DNS server is asked for."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    name = name.strip("[]").lower().removesuffix(".")
    return name == _NAME or name.endswith(f".{_NAME}") or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
