"""The only place that knows every part: builds them, starts them in order, and stops them in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Coroutine
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from controlplane import logs, resources, tracing
from controlplane.adapters.bus.memory import MemoryBus
from controlplane.adapters.secrets import MasterKeySecrets
from controlplane.adapters.store.schema import SCHEMA, SchemaError, database_path
from controlplane.adapters.store.sqlite import SqliteStore
from controlplane.adapters.system import SystemClock, SystemIds
from controlplane.dialect import CANONICAL, Dialect
from controlplane.domain.account import Account, ApiKey, hash_secret
from controlplane.domain.errors import PlaneError
from controlplane.domain.ids import ACCOUNT, API_KEY, encode
from controlplane.domain.money import nano
from controlplane.domain.principal import ALL, SCOPES
from controlplane.edge.descriptors import strip_comments
from controlplane.edge.errors import EdgeError
from controlplane.edge.process import end_stale
from controlplane.edge.render import EdgeConfig, Tls
from controlplane.edge.render import render as render_edge
from controlplane.edge.runtime import runtime_folder
from controlplane.edge.supervisor import Addresses, EnvoySupervisor
from controlplane.metrics import Metrics
from controlplane.ports.bus import Topic
from controlplane.ports.provider import Provider
from controlplane.ports.store import Get, Store, StoreInfo, Transaction, UnitOfWork
from controlplane.reconcile.loop import InstanceLoop
from controlplane.reconcile.sweep import Sweeper, expire_records, refresh_offers
from controlplane.settings import Settings, SettingsError
from controlplane.state_folder import StartError, StateFolder
from controlplane.usecases.core import Core, Policy
from controlplane.usecases.keys import SECRET_PREFIX, KeyAuthenticator
from controlplane.usecases.offerbook import OfferBook
from controlplane.usecases.tokens import Tokens
from controlplane.usecases.watch import EventHub
from controlplane.wire import event as stream_messages

DIALECTS: tuple[Dialect, ...] = (CANONICAL,)

EMBEDDED = "embedded"
"""The lease holder's name on SQLite: there is one process, and it takes over what its last life left."""


def package_version() -> str:
    """This build's version."""
    try:
        return version("gpuplane")
    except PackageNotFoundError:
        return "0.0.0"


def run_up(settings: Settings) -> int:
    """Run the plane until SIGINT or SIGTERM; the exit code."""
    logs.setup(settings.log_level)
    os.umask(0o077)  # nothing in the state folder is for others
    try:
        return asyncio.run(_up(settings))
    except (StartError, SchemaError, EdgeError, SettingsError, PlaneError) as error:
        print(f"gpuplane: {error}", file=sys.stderr)
        return 1
    except sqlite3.Error as error:
        print(f"gpuplane: the database cannot be used: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def migrate(settings: Settings) -> str:
    """Bring the database to this build's schema; a sentence saying what was done."""
    folder = StateFolder(settings.state, settings.master_key_file)
    folder.acquire()
    try:
        from controlplane.adapters.store.schema import migrate as run_migrations

        return asyncio.run(run_migrations(settings.database_url, SystemIds(), folder.deployment_id))
    finally:
        folder.release()


def render_envoy(settings: Settings) -> str:
    """The Envoy configuration that `up` would run, for those who run their own."""
    runtime = settings.state.resolve() / "run"
    return render_edge(_edge_config(settings, runtime / "server.sock"), DIALECTS)


async def _up(settings: Settings) -> int:
    folder = StateFolder(settings.state, settings.master_key_file)
    fresh = not settings.state.exists()
    if fresh:
        _check_port(settings)  # before anything is touched
    folder.acquire()
    try:
        runtime = runtime_folder(folder.path)
        await end_stale(runtime / "envoy.yaml")
        _check_port(settings)
        plane = await Plane.build(settings, folder, runtime)
        try:
            addresses = await plane.start()
            _announce(folder, addresses)
            await _until_signal()
        finally:
            await plane.stop(settings.drain)
    finally:
        folder.release()
    return 0


def _check_port(settings: Settings) -> None:
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
    endpoints |= {d.name: addresses.url(d.name) for d in DIALECTS if d is not CANONICAL}
    folder.write_endpoints(endpoints)
    print(f"gpuplane {package_version()} is ready", flush=True)
    print(f"  gRPC and REST  {addresses.url(CANONICAL.name)}", flush=True)
    for dialect in DIALECTS:
        if dialect is not CANONICAL:
            print(f"  {dialect.name:<13}  {addresses.url(dialect.name)}", flush=True)
    print(f"  keys           {folder.path / 'credentials.json'}", flush=True)


def _edge_config(settings: Settings, server_socket: Path) -> EdgeConfig:
    tls = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        tls = Tls(settings.tls_cert.resolve(), settings.tls_key.resolve(), settings.tls_client_ca)
    return EdgeConfig(
        upstreams=(server_socket,), bind=settings.bind, port=settings.port, tls=tls,
        cors_origins=settings.cors_origins, access_log=settings.access_log, trusted_proxies=settings.trusted_proxies,
        concurrency=settings.envoy_concurrency,
    )  # fmt: skip


def _policy(settings: Settings) -> Policy:
    return Policy(
        max_duration_s=settings.max_duration, stop_grace_s=settings.stop_grace,
        meter_interval_s=settings.meter_interval, hold_window_s=settings.hold_window,
    )  # fmt: skip


def _providers(settings: Settings, folder: StateFolder, host_id: str) -> dict[str, Provider]:
    if not settings.local:
        return {}
    from controlplane.adapters.providers.local import LocalProvider, LocalSettings

    local = LocalSettings(
        state_dir=folder.path / "local", host_id=host_id, ssh_bind=settings.local_ssh_bind,
        ssh_host=settings.local_ssh_host, simulated=settings.local_simulated,
        unsandboxed=settings.local_unsandboxed, cpu_price_nano_per_hour=nano(settings.local_cpu_price),
        max_machines=settings.local_max_machines, cpu_count=settings.local_cpu_count,
        memory_mb=settings.local_memory_mb,
    )  # fmt: skip
    return {"local": LocalProvider(local, SystemClock())}


def _is_current(path: Path) -> bool:
    """Whether the database needs no migration; a plain look, so that a start need not load the migration tool."""
    if not path.exists():
        return False
    with contextlib.closing(sqlite3.connect(path)) as database:
        try:
            rows = dict(database.execute("SELECT key, value FROM meta").fetchall())
        except sqlite3.Error:
            return False
    compatible = int(rows.get("min_compatible", SCHEMA + 1)) <= SCHEMA
    return int(rows.get("schema", 0)) >= SCHEMA and compatible and "deployment_id" in rows


async def _open_store(settings: Settings, folder: StateFolder, bus: MemoryBus, metrics: Metrics) -> Store:
    url, path = settings.database_url, database_path(settings.database_url)

    def committed(units: int, seconds: float) -> None:
        metrics.committed(units, seconds)
        bus.notify(Topic.EVENTS)

    def woken() -> None:
        bus.notify(Topic.EVENTS)
        bus.notify(Topic.WORK)

    if path is None or not _is_current(path):
        from controlplane.adapters.store.schema import migrate as run_migrations

        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        said = await run_migrations(url, SystemIds(), folder.deployment_id)
        logs.get("store").info("store.migrated", result=said)
    if path is not None:
        return SqliteStore(path, SystemClock(), SystemIds(), committed)
    from controlplane.adapters.store.postgres import PostgresStore

    return PostgresStore(url, SystemIds(), committed, woken)


def _deployment_id(folder: StateFolder, info: StoreInfo) -> str:
    """This deployment's id. It stands in the database and outside it: where they differ the database is a copy, and the
    machines of its rows belong to the deployment that it was copied from."""
    mine = folder.deployment_id()
    if mine != info.deployment_id:
        logs.get("plane").warning("plane.copied_database", database=info.deployment_id, folder=mine)
    return mine


async def _first_account(store: Store, folder: StateFolder) -> None:
    """The account and key of credentials.json, made in the database if they are not there yet.

    A lost file gets a new key for the oldest account, not an account of its own that would see no machines.
    """
    account_id = encode(ACCOUNT, SystemIds().uuid7())
    if not folder.has_credentials and (oldest := await _oldest_account(store)):
        logs.get("plane").warning("plane.credentials_lost", account=oldest, mended="a new key was written")
        account_id = oldest
    account_id, secret = folder.credentials(account_id)
    if await store.select(ALL, ApiKey, {"secret_sha256": hash_secret(secret)}, "", 1):
        return

    def decide(tx: Transaction) -> None:
        if tx.get(Account, account_id) is None:
            tx.put(Account(account_id, "default", "USD", 1000, tx.now))
        key_id, prefix = encode(API_KEY, tx.ids.uuid7()), secret[: len(SECRET_PREFIX) + 4]
        tx.put(ApiKey(key_id, account_id, "first key", prefix, hash_secret(secret), SCOPES, tx.now))

    await store.run(UnitOfWork(ALL, [Get(Account, account_id)], decide))


async def _oldest_account(store: Store) -> str:
    oldest = before = ""
    while page := await store.select(ALL, Account, {}, before, 1000):
        oldest = before = page[-1].id
    return oldest


class Plane:
    """One running server: store, loops, API and edge."""

    @classmethod
    async def build(cls, settings: Settings, folder: StateFolder, runtime: Path) -> Plane:
        """Open the store and compose everything; nothing acts yet."""
        bus = MemoryBus()
        metrics = Metrics()
        store = await _open_store(settings, folder, bus, metrics)
        await _first_account(store, folder)
        return cls(settings, folder, runtime, bus, store, await store.info(), metrics)

    def __init__(
        self, settings: Settings, folder: StateFolder, runtime: Path, bus: MemoryBus, store: Store,
        info: StoreInfo, metrics: Metrics,
    ) -> None:  # fmt: skip
        from controlplane.adapters.prober import SshProber
        from controlplane.adapters.ssh_keys import AsyncsshKeyParser
        from controlplane.api.canonical import Plane as ApiPlane
        from controlplane.api.canonical import canonical_services
        from controlplane.api.interceptors.limits import Limits
        from controlplane.api.scopes import canonical_scopes
        from controlplane.api.server import build_server
        from controlplane.vitals import ProcessVitals

        self._log = logs.get("plane")
        self._store = store
        self._tasks: list[asyncio.Task[None]] = []
        host_id = folder.host_id()
        secrets = MasterKeySecrets(folder.master_key())
        self._providers = _providers(settings, folder, host_id)
        self._core = Core(
            store=store, clock=SystemClock(), ids=SystemIds(), bus=bus, secrets=secrets,
            ssh_keys=AsyncsshKeyParser(), prober=SshProber(), providers=self._providers, offers=OfferBook(),
            policy=_policy(settings), deployment_id=_deployment_id(folder, info), host_id=host_id, meter=metrics,
        )  # fmt: skip
        authenticator = KeyAuthenticator(store, self._core.clock, hash_secret(folder.operator_key()))
        self._hub = EventHub(store, bus, Tokens(secrets, info.epoch), stream_messages, authenticator)
        self._loop = InstanceLoop(self._core, EMBEDDED)
        self._sweepers = [Sweeper(self._core, provider) for provider in self._providers.values()]
        socket_path = runtime / "server.sock"
        # Envoy keeps the image in memory once per route: without comments it takes 100 MB less.
        image = strip_comments(resources.DESCRIPTORS, runtime / "gpuplane.binpb")
        self._edge = EnvoySupervisor(replace(_edge_config(settings, socket_path), descriptors=image), DIALECTS, runtime)
        self._vitals = ProcessVitals(store, self._loop, self._sweepers, self._edge.healthy, metrics)
        api = ApiPlane(self._core, self._hub.tokens, self._hub, authenticator)
        loopback = settings.bind.startswith("127.") or settings.bind == "::1"
        socket_path.unlink(missing_ok=True)
        self._server = build_server(
            canonical_services(api, self._vitals, metrics, package_version()), authenticator,
            scopes=canonical_scopes(public_metrics=loopback),
            limits=Limits(settings.rate_limit, settings.rate_burst, settings.streams_per_key),
            dialects=DIALECTS, metrics=metrics, addresses=[f"unix:{socket_path}"],
            interceptors=tracing.interceptors(settings.otel_endpoint, package_version()),
        )  # fmt: skip
        self._settings = settings

    async def start(self) -> Addresses:
        """Take over what an earlier life left, serve, and open the edge."""
        await self._hub.start()
        await self._loop.take_over()
        settings = self._settings
        await self._server.start()
        self._run(self._loop.run(), "instances")
        self._run(self._hub.run(), "watch")
        self._run(self._hub.watch_keys(), "watch-keys")
        self._run(self._vitals.probe_lag(), "loop-lag")
        self._run(self._vitals.refresh_gauges(), "gauges")
        self._run(expire_records(self._core, settings.retention, settings.retention_events, 60.0), "retention")
        for sweeper in self._sweepers:
            self._run(
                refresh_offers(self._core, sweeper.provider, settings.offers_interval),
                f"offers-{sweeper.provider.name}",
            )
            self._run(sweeper.run(settings.sweep_interval), f"sweep-{sweeper.provider.name}")
        await self._server.set_serving(True)
        addresses = await self._edge.start()
        self._vitals.ready = True
        return addresses

    def _run(self, loop: Coroutine[Any, Any, None], name: str) -> None:
        """Run a loop until the stop. One that dies by a fault of ours is logged and begun anew by the next start only:
        its silence shows in /health."""
        task = asyncio.create_task(loop, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._log.error("plane.loop_died", loop=task.get_name(), exc_info=task.exception())
            self._vitals.ready = False

    async def stop(self, drain_s: float) -> None:
        """Stop taking work, let streams say good-bye, finish what was accepted, let go."""
        self._vitals.ready = False
        self._hub.stop()
        await self._edge.stop(drain_s)
        await self._server.stop(1.0)
        for task in reversed(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        for provider in self._providers.values():
            await provider.close()
        await self._store.close()
