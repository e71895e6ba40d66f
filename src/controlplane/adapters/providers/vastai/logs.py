"""A machine's log: the vendor puts it into a file store, where it appears a little later."""

from __future__ import annotations

from urllib.parse import urlsplit

from controlplane.adapters.providers.http import MarketplaceClient, NotUnderstood, Unclear
from controlplane.adapters.providers.vastai import wire
from controlplane.ports.clock import Clock
from controlplane.ports.provider import ProviderError

_TRIES = 30
_PAUSE_S = 0.3
_WAIT_S = 20.0


async def read(client: MarketplaceClient, clock: Clock, machine_id: str, tail: int, base_url: str) -> str:
    """The last `tail` lines. Raises ProviderError."""
    answer = await client.request(
        "logs", "PUT", wire.logs_path(machine_id), json={"tail": str(tail)}, safe=True, deadline_s=8.0
    )
    url = wire.well_formed(answer).get("result_url")
    if not isinstance(url, str) or not _trusted(url, base_url):
        raise NotUnderstood("an answer about a log without its address")
    until = clock.monotonic() + _WAIT_S
    for _ in range(_TRIES):
        left = until - clock.monotonic()
        if left <= 0:
            break
        try:
            found = await client.fetch(url, deadline_s=left)
        except Unclear:
            continue
        if found.status == 200:
            lines = found.body.decode("utf-8", "replace").splitlines()
            return "\n".join(lines[-tail:] if tail > 0 else [])
        await clock.sleep(_PAUSE_S)
    raise ProviderError("the log did not appear in time")


def _trusted(url: str, base_url: str) -> bool:
    """Encrypted and at a name of the public net, as file stores are, or where the marketplace itself is (a simulator on
    this host): an address or a bare name may lead to a neighbour of ours."""
    try:
        parts, base = urlsplit(url), urlsplit(base_url)
    except ValueError:
        return False
    name, _, top = (parts.hostname or "").rpartition(".")
    public = parts.scheme == "https" and bool(name) and top[:1].isalpha()
    return bool(parts.hostname) and (public or (parts.scheme, parts.netloc) == base[:2])
