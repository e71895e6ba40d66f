"""One server process: store, loops and API, composed. It listens on one socket; the edge is not its business."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from controlplane import logs, tracing
from controlplane.adapters.bus.memory import MemoryBus
from controlplane.adapters.key_pairs import RsaKeyPairs
from controlplane.adapters.outbound import AddressGuard
from controlplane.adapters.prober import SshProber
from controlplane.adapters.secrets import MasterKeySecrets
from controlplane.adapters.ssh_keys import AsyncsshKeyParser
from controlplane.adapters.store.schema import database_path
from controlplane.adapters.system import SystemClock, SystemIds
from controlplane.adapters.webhook_sender import HttpWebhookSender
from controlplane.api.canonical import Plane as ApiPlane
from controlplane.api.canonical import canonical_services
from controlplane.api.interceptors.limits import KeyLimits, Limits
from controlplane.api.scopes import canonical_scopes
from controlplane.api.server import build_server
from controlplane.bootstrap.dialects import DIALECTS, key_formats, keyless_callers, served, webhook_formats
from controlplane.bootstrap.providers import factories, providers
from controlplane.bootstrap.stores import open_store, settle_deployment
from controlplane.domain.account import hash_secret
from controlplane.metrics import Metrics
from controlplane.ports.provider import Provider
from controlplane.ports.store import Store
from controlplane.reconcile.credentials import CredentialKeeper
from controlplane.reconcile.deliver import Deliverer
from controlplane.reconcile.fanout import Fanout
from controlplane.reconcile.inventory import recall_failures, refresh_offers, refresh_templates
from controlplane.reconcile.loop import InstanceLoop
from controlplane.reconcile.replicas import Roster
from controlplane.reconcile.sweep import Sweeper, expire_deliveries, expire_records
from controlplane.settings import Settings, is_loopback
from controlplane.state_folder import StateFolder
from controlplane.usecases.core import Core, Policy
from controlplane.usecases.hub import EventHub
from controlplane.usecases.keys import KeyAuthenticator
from controlplane.usecases.offerbook import OfferBook
from controlplane.usecases.provider_credentials import CredentialBook
from controlplane.usecases.tokens import Tokens
from controlplane.vitals import ProcessVitals
from controlplane.wire import event as stream_messages


def package_version() -> str:
    """This build's version."""
    try:
        return version("gpuplane")
    except PackageNotFoundError:
        return "0.0.0"


def _policy(settings: Settings) -> Policy:
    return Policy(
        max_duration_s=settings.max_duration, stop_grace_s=settings.stop_grace,
        meter_interval_s=settings.meter_interval, hold_window_s=settings.hold_window,
    )  # fmt: skip


def _options(settings: Settings) -> dict[str, Any]:
    """The settings of dialects: those that begin with the name of one."""
    prefixes = tuple(f"{dialect.name}_" for dialect in DIALECTS)
    return {name: value for name, value in settings.model_dump().items() if name.startswith(prefixes)}


def holder_prefix(host_id: str) -> str:
    """How the lease holders' names of this state folder's processes begin.

    The folder has one plane at a time: a new one knows that all earlier holders are dead.
    """
    return f"{host_id}/"


def holder_name(host_id: str, index: int) -> str:
    """A lease holder's name for one life of one server process."""
    return f"{holder_prefix(host_id)}{index}-{os.urandom(4).hex()}"


class Replica:
    """One server. `index` 0 also sweeps and expires records for the host's other processes."""

    @classmethod
    async def build(
        cls, settings: Settings, folder: StateFolder, socket: Path, holder: str, index: int = 0,
        edge: Callable[[], Awaitable[bool]] | None = None,
    ) -> Replica:  # fmt: skip
        """Open the store and compose everything; nothing acts yet."""
        bus, metrics = MemoryBus(), Metrics()
        store = await open_store(settings, bus, metrics)
        deployment_id = await settle_deployment(store, folder)
        return cls(
            settings, folder, socket, holder, index, edge, bus, metrics, store, deployment_id,
            (await store.info()).epoch,
        )  # fmt: skip

    def __init__(
        self, settings: Settings, folder: StateFolder, socket: Path, holder: str, index: int,
        edge: Callable[[], Awaitable[bool]] | None, bus: MemoryBus, metrics: Metrics, store: Store,
        deployment_id: str, epoch: str,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._index = index
        self._store = store
        self._log = logs.get("replica")
        self._tasks: list[asyncio.Task[None]] = []
        self._embedded = database_path(settings.database_url) is not None
        host_id = folder.host_id()
        secrets = MasterKeySecrets(folder.master_key())
        made = factories(settings, metrics)
        self._providers = providers(settings, folder, host_id, made)
        self._key_pairs = RsaKeyPairs(settings.shopper_key_stock)
        guard, formats = AddressGuard(settings.webhook_allow_private), webhook_formats()
        self._core = Core(
            store=store, clock=SystemClock(), ids=SystemIds(), bus=bus, secrets=secrets,
            ssh_keys=AsyncsshKeyParser(), prober=SshProber(), providers=self._providers, offers=OfferBook(),
            policy=_policy(settings), deployment_id=deployment_id, host_id=host_id, meter=metrics, urls=guard,
            credentials=CredentialBook(made), key_pairs=self._key_pairs,
            webhook_events={name: form.event_types for name, form in formats.items()},
        )  # fmt: skip
        authenticator = KeyAuthenticator(store, self._core.clock, hash_secret(folder.operator_key()), key_formats())
        self._hub = EventHub(store, bus, Tokens(secrets, epoch), stream_messages, authenticator)
        self._loop = InstanceLoop(self._core, holder)
        self._fanout = Fanout(self._core, holder, formats)
        self._sender = HttpWebhookSender(guard)
        self._deliverer = Deliverer(self._core, holder, formats, self._sender)
        self._sweepers = [Sweeper(self._core, provider) for provider in self._providers.values()]
        self._keeper = CredentialKeeper(
            self._core, made, self._credential_began, self._credential_ended,
            offers_interval_s=settings.offers_interval, erases=index == 0,
        )  # fmt: skip
        self._credential_tasks: dict[str, asyncio.Task[None]] = {}
        self._vitals = ProcessVitals(store, self._loop, self._sweepers if index == 0 else [], edge, metrics)
        self._limits = KeyLimits(Limits(settings.rate_limit, settings.rate_burst, settings.streams_per_key))
        self._roster = Roster(self._core, holder, self._limits.share_among)
        api = ApiPlane(
            self._core, self._hub.tokens, self._hub, authenticator, key_formats(), self._vitals, _options(settings)
        )
        loopback = is_loopback(settings.bind)
        # gRPC removes its socket when it stops, whoever listens there by then: a life that ends late would take its
        # successor's away. So each listens under a name of its own, and moves that to where the edge looks.
        self._socket, self._bound = socket, socket.with_suffix(f".{os.getpid()}")
        dialects = served(settings)
        dialect_services = [made for dialect in dialects if dialect.servicers for made in dialect.servicers(api)]
        scopes = dict(canonical_scopes(public_metrics=loopback))
        for dialect in dialects:
            scopes |= dialect.scopes
        self._server = build_server(
            [*canonical_services(api, self._vitals, metrics, package_version()), *dialect_services], authenticator,
            scopes=scopes, limits=self._limits, dialects=dialects,
            keyless=keyless_callers(dialects, settings.shopper_account or folder.first_account()),
            metrics=metrics, addresses=[f"unix:{self._bound}"],
            interceptors=tracing.interceptors(settings.otel_endpoint, package_version()),
        )  # fmt: skip

    async def start(self) -> None:
        """Take over what an earlier life left, and serve."""
        await self._hub.start()
        settings, core = self._settings, self._core
        if not self._embedded:
            self._run(self._roster.run, "roster")
        await self._keeper.refresh()  # before anything is bought: an account's own credential comes first
        await self._server.start()
        self._bound.replace(self._socket)
        self._run(self._loop.run, "instances")
        self._run(self._fanout.run, "webhook-fanout")
        self._run(self._deliverer.run, "webhook-delivery")
        self._run(self._hub.run, "watch")
        self._run(self._hub.watch_keys, "watch-keys")
        self._run(self._vitals.probe_lag, "loop-lag")
        self._run(self._vitals.refresh_gauges, "gauges")
        for sweeper in self._sweepers:
            name = sweeper.provider.name
            self._run(
                partial(refresh_offers, core, sweeper.provider, self._offers_pause(sweeper.provider)), f"offers-{name}"
            )
            self._run(partial(refresh_templates, core, sweeper.provider), f"templates-{name}")
            if self._index == 0:
                self._run(partial(sweeper.run, settings.sweep_interval), f"sweep-{name}")
        for name, loop in self._keeper.loops.items():
            self._run(loop, name)
        self._run(partial(recall_failures, core), "failures")
        self._run(self._key_pairs.run, "key-pairs")
        if self._index == 0:
            self._run(lambda: expire_records(core, settings.retention, settings.retention_events, 60.0), "retention")
            self._run(lambda: expire_deliveries(core, settings.retention_deliveries, 60.0), "webhook-retention")
            self._run(lambda: self._roster.watch_hosts(settings.host_lost_after), "hosts")
        await self._server.set_serving(True)

    def _offers_pause(self, provider: Provider) -> float:
        """The least pause that a marketplace allows is for all processes together."""
        return max(self._settings.offers_interval, provider.capabilities.offers_pause_s * self._settings.processes)

    def set_ready(self, ready: bool) -> None:
        """Whether /ready says so."""
        self._vitals.ready = ready

    def _credential_began(self, id: str, provider: Provider) -> None:
        """Sweep what an account's own credential sees."""
        if self._index == 0:
            sweep = partial(Sweeper(self._core, provider, id).run, self._settings.sweep_interval)
            name = f"sweep-{provider.name}-{id}"
            self._credential_tasks[id] = asyncio.create_task(self._for_ever(sweep, name), name=name)

    async def _credential_ended(self, id: str) -> None:
        task = self._credential_tasks.pop(id, None)
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _run(self, loop: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Run a loop until the stop; one that dies of a fault of ours is logged and begun anew."""
        self._tasks.append(asyncio.create_task(self._for_ever(loop, name), name=name))

    async def _for_ever(self, loop: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        while True:
            try:
                await loop()
                return
            except Exception:
                self._log.exception("replica.loop_died", loop=name)
                await asyncio.sleep(1.0)

    def say_goodbye(self) -> None:
        """End the streams in band; new calls are still answered."""
        self._vitals.ready = False
        self._hub.stop()

    async def stop(self) -> None:
        """Finish what was accepted, let go."""
        self.say_goodbye()
        await self._server.stop(1.0)
        for task in reversed(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._keeper.close()
        with contextlib.suppress(Exception):
            await self._roster.leave()
        await self._sender.close()
        for provider in self._providers.values():
            await provider.close()
        await self._store.close()
