"""`gpuplane up`: one state folder, one Envoy, and one or more server processes behind it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

from controlplane import logs, resources
from controlplane.adapters.bus.memory import MemoryBus
from controlplane.adapters.store.schema import database_path
from controlplane.bootstrap.dialects import DIALECTS, first_key_formats, own_binds, served
from controlplane.bootstrap.replica import Replica, holder_name, holder_prefix, package_version
from controlplane.bootstrap.stores import check_account, first_account, is_current, migrate_store, open_store
from controlplane.dialect import CANONICAL
from controlplane.domain.errors import PlaneError
from controlplane.edge.descriptors import strip_comments
from controlplane.edge.process import end_stale
from controlplane.edge.render import EdgeConfig, Tls
from controlplane.edge.runtime import runtime_folder
from controlplane.edge.supervisor import Addresses, EnvoySupervisor
from controlplane.metrics import Metrics
from controlplane.reconcile.loop import LoopTimes, release_held
from controlplane.settings import Settings
from controlplane.state_folder import StartError, StateFolder

READY = "ready"
"""The line by which a worker says that it serves."""

WORKER_START_S = 30.0
WORKER_STOP_S = 10.0
RESTART_DELAYS_S = (0.1, 0.5, 2.0, 10.0)


async def up(settings: Settings) -> int:
    """Run until SIGINT or SIGTERM."""
    if settings.processes > 1 and database_path(settings.database_url) is not None:
        raise StartError(
            f"processes must be 1 on SQLite, which has one writer; got {settings.processes}: "
            "several processes need --database postgresql://..."
        )
    folder = StateFolder(settings.state, settings.master_key_file)
    if not settings.state.exists():
        check_port(settings)  # before anything is touched
    folder.acquire()
    try:
        runtime = runtime_folder(folder.path)
        await end_stale(runtime / "envoy.yaml")
        check_port(settings)
        await _prepare(settings, folder)
        plane = Plane(settings, folder, runtime)
        try:
            _announce(folder, await plane.start())
            await _until_signal()
        finally:
            await plane.stop()
    finally:
        folder.release()
    return 0


async def _prepare(settings: Settings, folder: StateFolder) -> None:
    """Schema, first account, and what dead lives held, before any server process looks."""
    if settings.deployment_id:
        folder.set_deployment_id(settings.deployment_id)
    if not is_current(settings):
        logs.get("store").info("store.migrated", result=await migrate_store(settings, folder))
    store = await open_store(settings, MemoryBus(), Metrics())
    try:
        await store.check()  # a database that takes no writes is said now, not by the first caller
        await first_account(store, folder, first_key_formats())
        await check_account(store, settings.shopper_account, "shopper_account")
        await release_held(store, holder_prefix(folder.host_id()))
    finally:
        await store.close()


def check_port(settings: Settings) -> None:
    """Fail early, with one line, when somebody else listens there."""
    if not settings.port:
        return
    family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.bind, settings.port))
        except OSError as error:
            raise StartError(
                f"port {settings.port} on {settings.bind} cannot be used: {error.strerror}; choose another with --port"
            ) from None


async def _until_signal() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)  # a second one ends us at once


def _announce(folder: StateFolder, addresses: Addresses) -> None:
    rest = addresses.url(CANONICAL.name)
    # A plain host:port is plaintext to gRPC clients; with TLS the scheme must be said.
    endpoints = {"grpc": rest if addresses.scheme == "https" else addresses.target(CANONICAL.name), "rest": rest}
    endpoints |= {d.name: addresses.url(d.name) for d in DIALECTS if d.name != CANONICAL.name}
    folder.write_endpoints(endpoints)
    print(f"gpuplane {package_version()} is ready", flush=True)
    print(f"  gRPC and REST  {addresses.url(CANONICAL.name)}", flush=True)
    for dialect in DIALECTS:
        if dialect.name != CANONICAL.name:
            print(f"  {dialect.name:<13}  {addresses.url(dialect.name)}", flush=True)
    print(f"  keys           {folder.path / 'credentials.json'}", flush=True)


def edge_config(settings: Settings, runtime: Path) -> EdgeConfig:
    """How the edge is to listen, and what it stands before."""
    tls = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        tls = Tls(settings.tls_cert.resolve(), settings.tls_key.resolve(), settings.tls_client_ca)
    return EdgeConfig(
        upstreams=tuple(socket_of(runtime, index) for index in range(settings.processes)),
        bind=settings.bind,
        own_binds=own_binds(settings),
        port=settings.port,
        tls=tls,
        cors_origins=settings.cors_origins,
        access_log=settings.access_log,
        trusted_proxies=settings.trusted_proxies,
        concurrency=settings.envoy_concurrency,
    )


def socket_of(runtime: Path, index: int) -> Path:
    """The socket of one server process."""
    return runtime / f"server-{index}.sock"


class Plane:
    """The server processes and their edge. One server runs in this process; several in processes of their own."""

    def __init__(self, settings: Settings, folder: StateFolder, runtime: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._runtime = runtime
        # Envoy keeps the image in memory once per route: without comments it takes 100 MB less.
        image = strip_comments(resources.DESCRIPTORS, runtime / "gpuplane.binpb")
        config = replace(edge_config(settings, runtime), descriptors=image)
        self._edge = EnvoySupervisor(config, served(settings), runtime)
        self._replica: Replica | None = None
        self._workers: list[Worker] = []

    async def start(self) -> Addresses:
        """Serve, then open the edge."""
        settings = self._settings
        if settings.processes == 1:
            holder = holder_name(self._folder.host_id(), 0)
            self._replica = await Replica.build(
                settings, self._folder, socket_of(self._runtime, 0), holder, edge=self._edge.healthy
            )
            await self._replica.start()
        else:
            self._workers = [Worker(settings, self._folder, n) for n in range(settings.processes)]
            await asyncio.gather(*(worker.start() for worker in self._workers))
        addresses = await self._edge.start()
        if self._replica is not None:
            self._replica.set_ready(True)
        return addresses

    async def stop(self) -> None:
        """Let streams say good-bye, drain the edge, then end the servers."""
        if self._replica is not None:
            self._replica.say_goodbye()
        for worker in self._workers:
            worker.say_goodbye()
        await self._edge.stop(self._settings.drain)
        if self._replica is not None:
            await self._replica.stop()
        await asyncio.gather(*(worker.stop() for worker in self._workers))


class Worker:
    """One server process of several; started again when it dies.

    It reads its settings from stdin and ends at the end of that file: so it never outlives this process for long.
    """

    def __init__(self, settings: Settings, folder: StateFolder, index: int) -> None:
        self._settings = settings
        self._folder = folder
        self._index = index
        self._holder = ""  # the name under which its present life holds leases
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False
        self._log = logs.get("plane")

    async def start(self) -> None:
        """Returns once it serves; raises StartError when it does not come up."""
        await self._launch()
        self._keeper = asyncio.create_task(self._keep_running(), name=f"worker-{self._index}")

    async def _launch(self) -> None:
        self._holder = holder_name(self._folder.host_id(), self._index)
        order = {
            "settings": self._settings.model_dump_json(), "state": str(self._folder.path), "index": self._index,
            "holder": self._holder,
        }  # fmt: skip
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "controlplane.bootstrap.worker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order).encode() + b"\n")
        try:
            async with asyncio.timeout(WORKER_START_S):
                line = (await process.stdout.readline()).decode().strip()
        except TimeoutError:
            line = f"it was not ready within {WORKER_START_S:g} s"
        if line != READY:
            process.kill()
            raise StartError(f"server process {self._index} did not start: {line or 'see its log above'}")

    async def _keep_running(self) -> None:
        deaths = 0
        while self._process is not None:
            code = await self._process.wait()
            if self._stopping:
                return
            delay = RESTART_DELAYS_S[min(deaths, len(RESTART_DELAYS_S) - 1)]
            self._log.error("worker died and is started again", index=self._index, exit_code=code, delay_s=delay)
            _, started = await asyncio.gather(self._release(self._holder), self._relaunch(delay))
            deaths = 0 if started else deaths + 1

    async def _relaunch(self, delay_s: float) -> bool:
        await asyncio.sleep(delay_s)
        try:
            await self._launch()
        except (StartError, OSError) as error:
            self._log.error("worker did not start", index=self._index, error=str(error))
            return False
        return True

    async def _release(self, dead: str) -> None:
        """Let the other processes go on at once with what a dead life held. It is only haste: without it they do when
        the leases run out, so there is no use in trying for longer than that."""
        try:
            async with asyncio.timeout(LoopTimes().lease_s):
                store = await open_store(self._settings, MemoryBus(), Metrics())
                try:
                    await release_held(store, dead)
                finally:
                    await store.close()
        except (PlaneError, TimeoutError) as error:
            self._log.warning("worker's leases run out by themselves", index=self._index, error=str(error))

    def say_goodbye(self) -> None:
        """Ask it to end its streams; it goes on answering until `stop`."""
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGUSR1)

    async def stop(self) -> None:
        """End it; past its patience by force."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(WORKER_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
