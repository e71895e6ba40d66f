"""Keeps one Envoy running for the life of the server, and drains it at the end.

Envoy is not tied to us by a parent-death signal: if this process is killed, Envoy goes on to answer 503 in
every dialect's shape until the next start, which ends it first (`process.end_stale`).
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from controlplane.dialect import Dialect
from controlplane.edge.admin import Admin
from controlplane.edge.errors import EdgeError
from controlplane.edge.process import EnvoyProcess, end_stale, validate
from controlplane.edge.render import EdgeConfig, render
from controlplane.edge.runtime import SOCKET_PATH_MAX

log = structlog.get_logger(__name__)

_READY_TIMEOUT_S = 30.0
_READY_POLL_S = 0.02
_DRAIN_POLL_S = 0.05
_EXIT_TIMEOUT_S = 5.0
_STEADY_S = 30.0  # up for so long, a death is taken for the first one
_RESTART_DELAYS_S = (0.05, 0.2, 1.0, 5.0)  # the last one repeats


@dataclass(frozen=True)
class Addresses:
    """Where the edge answers. `ports` is by dialect name; the canonical one is the main port."""

    scheme: str
    host: str
    ports: Mapping[str, int]
    own_hosts: Mapping[str, str] = field(default_factory=dict)  # of dialects that answer elsewhere, by name

    def target(self, dialect: str) -> str:
        """host:port that a client on this host can dial, also when the edge is bound to every address."""
        ip = ipaddress.ip_address(self.own_hosts.get(dialect, self.host))
        if ip.is_unspecified:
            ip = ipaddress.ip_address("127.0.0.1" if ip.version == 4 else "::1")
        host = f"[{ip}]" if ip.version == 6 else str(ip)
        return f"{host}:{self.ports[dialect]}"

    def url(self, dialect: str) -> str:
        """The base URL of a dialect's REST API."""
        return f"{self.scheme}://{self.target(dialect)}"


class EnvoySupervisor:
    """One Envoy per state folder. `runtime_dir` takes its configuration and socket (see `runtime_folder`)."""

    def __init__(self, config: EdgeConfig, dialects: Sequence[Dialect], runtime_dir: Path) -> None:
        runtime_dir = runtime_dir.resolve()
        socket = runtime_dir / "envoy-admin.sock"
        if len(os.fsencode(socket)) > SOCKET_PATH_MAX:
            raise EdgeError(f"{socket} is too long for a socket; use a runtime folder nearer to the root")
        self._config = replace(config, admin_socket=socket)
        self._dialects = tuple(dialects)
        self._file = runtime_dir / "envoy.yaml"
        self._admin = Admin(socket)
        self._envoy: EnvoyProcess | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the Envoy that runs now."""
        return self._envoy.pid if self._envoy and self._envoy.running else None

    async def start(self) -> Addresses:
        """Returns once the ports are open; raises EdgeError, and leaves nothing running, if that fails."""
        await end_stale(self._file)
        await self._write(render(self._config, self._dialects))
        await validate(self._file)
        try:
            await self._launch()
            ports = await self._admin.ports()
            # A restart must come back on the same ports, also on those the kernel chose.
            await self._write(render(self._config, self._dialects, ports))
        except BaseException:
            if self._envoy:
                await self._envoy.end(0)
            raise
        self._keeper = asyncio.create_task(self._keep_running(), name="envoy-keeper")
        log.info("edge open", ports=ports, pid=self.pid)
        return Addresses("https" if self._config.tls else "http", self._config.bind, ports, self._config.own_binds)

    async def healthy(self) -> bool:
        """Whether Envoy runs and serves."""
        return self.pid is not None and await self._admin.ready()

    async def stop(self, drain_s: float = 10.0) -> None:
        """Closes the ports, lets running requests finish for up to `drain_s`, and ends Envoy.

        The server ends its own streams first or meanwhile; those still open after the bound are cut.
        """
        if self._keeper:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        if not self._envoy:
            return
        patience_s = 0.0
        try:
            if self._envoy.running:
                await self._drain(drain_s)
                await self._admin.ask("POST", "/quitquitquit")
                patience_s = _EXIT_TIMEOUT_S
        except EdgeError as error:
            log.warning("Envoy could not be drained", error=str(error))
        finally:  # also when the stop itself is cancelled: a second Ctrl-C
            await self._envoy.end(patience_s)

    async def _drain(self, drain_s: float) -> None:
        await self._admin.ask("POST", "/healthcheck/fail")  # answers from now on say `connection: close`
        await self._admin.ask("POST", "/drain_listeners")  # new connections are refused, open ones go on
        deadline = asyncio.get_running_loop().time() + drain_s
        while active := await self._admin.stat("http.edge.downstream_rq_active"):
            if asyncio.get_running_loop().time() >= deadline:
                log.warning("requests are cut", active=active, drain_s=drain_s)
                return
            await asyncio.sleep(_DRAIN_POLL_S)

    async def _launch(self) -> None:
        self._envoy = envoy = await EnvoyProcess.start(self._file, self._config.concurrency)
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                while envoy.running and not await self._admin.ready():  # noqa: ASYNC110
                    await asyncio.sleep(_READY_POLL_S)
        except TimeoutError:
            await envoy.end(0)
            raise EdgeError(f"Envoy was not ready within {_READY_TIMEOUT_S:g} s") from None
        if not envoy.running:
            await envoy.wait()
            raise EdgeError(envoy.why_it_ended())

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        deaths = 0
        while self._envoy:
            started = loop.time()
            code = await self._envoy.wait()
            deaths = 1 if loop.time() - started > _STEADY_S else deaths + 1
            delay = _RESTART_DELAYS_S[min(deaths, len(_RESTART_DELAYS_S)) - 1]
            log.error("Envoy died and is started again", exit_code=code, deaths=deaths, delay_s=delay)
            await asyncio.sleep(delay)
            try:
                await self._launch()
            except (EdgeError, OSError) as error:
                log.error("Envoy did not start", error=str(error))

    async def _write(self, text: str) -> None:
        await asyncio.to_thread(_replace_file, self._file, text)


def _replace_file(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)
