"""The port to a machine's own services: is it usable, as its tenant would find it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from controlplane.ports.provider import SshEndpoint


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one look found. `reason` is one sentence for people and holds no secret; empty when ready."""

    ready: bool
    host_key: str = ""  # as presented, "ssh-ed25519 AAAA..."; empty when SSH was not reached or not asked
    reason: str = ""
    permanent: bool = False  # looking again will not help: another host key than the pinned one
    refused: bool = False  # it answers and refuses the key, which may not be installed yet


class Prober(Protocol):
    """Looks once; never raises but for `CancelledError`. The caller repeats until its deadline."""

    def public_key(self, private_seed: bytes) -> str:
        """The OpenSSH public key line of the ed25519 key with this 32-byte seed."""
        ...

    async def probe(self, endpoint: SshEndpoint, private_seed: bytes, deadline_s: float) -> ProbeResult:
        """Log in with the ed25519 key of this 32-byte seed and run the one command it may.

        `endpoint.host_key` is pinned when given; otherwise the result says which key was met.
        """
        ...

    async def jupyter_health(self, url: str, token: str, deadline_s: float) -> ProbeResult:
        """Ask the Jupyter server at `url` for its status."""
        ...

    async def model_health(self, url: str, api_key: str, deadline_s: float) -> ProbeResult:
        """Ask the OpenAI-compatible server at `url` (ending in /v1) for its models."""
        ...

    async def http_health(self, url: str, deadline_s: float) -> ProbeResult:
        """Ask whatever HTTP server is at `url` (its root) for `/health`, or for `/` where that is forbidden or moved: a
        2xx says that it serves, and so does a 404, for which somebody has to be there."""
        ...
