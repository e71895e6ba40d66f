"""A server and an Envoy before it, for one test."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.dialect import CANONICAL, REFUSALS, Claim, Dialect, LocalReply
from controlplane.edge.admin import Admin
from controlplane.edge.render import EdgeConfig
from controlplane.edge.runtime import runtime_folder
from controlplane.edge.supervisor import Addresses, EnvoySupervisor

from .http1 import Response, call
from .server import Server

# A second dialect, as issue 4 adds them: by port, host name and, for tokens that begin so, on the main port.
TOY = Dialect(
    name="toy",
    services=("gpuplane.v1.Offers",),
    port_offset=1,
    claims=(Claim("/gpuplane/v1/offers", bearer="toy_"), Claim("/gpuplane/v1/offers/", bearer="toy_")),
    local_replies=tuple(
        LocalReply(r.status, {"title": r.reason, "status": "%RESPONSE_CODE%"}, "application/problem+json")
        for r in REFUSALS
    ),
    hosts=("toy.*",),
)
DIALECTS = (CANONICAL, TOY)


@dataclass
class Edge:
    server: Server
    supervisor: EnvoySupervisor
    addresses: Addresses
    folder: Path

    @property
    def target(self) -> str:
        return self.addresses.target("gpuplane")

    async def call(self, method: str, path: str, body: Any = b"", **more: Any) -> Response:
        return await call(self.target, method, path, body, **more)

    async def stat(self, name: str) -> int:
        return await Admin(self.folder / "envoy-admin.sock").stat(name)


@asynccontextmanager
async def running(state: Path, **settings: Any) -> AsyncIterator[Edge]:
    """The whole edge on free ports. Script errors, which Envoy lets pass unseen, fail the test."""
    folder = runtime_folder(state)
    server = Server(folder / "server.sock")
    await server.start()
    config = EdgeConfig(**{"upstreams": (server.socket,), "port": 0, **settings})
    supervisor = EnvoySupervisor(config, DIALECTS, folder)
    edge = Edge(server, supervisor, await supervisor.start(), folder)
    try:
        yield edge
        if supervisor.pid:
            assert await edge.stat("http.edge.lua.errors") == 0
    finally:
        server.release.set()
        await supervisor.stop(drain_s=0)
        await server.stop()
        if not folder.is_relative_to(state):  # too deep for sockets; pytest does not clean this up
            await asyncio.to_thread(shutil.rmtree, folder)
