"""A plane over each embedded store, without loops and providers."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from controlplane.adapters.bus.memory import MemoryBus
from controlplane.adapters.secrets import MasterKeySecrets
from controlplane.adapters.ssh_keys import AsyncsshKeyParser
from controlplane.adapters.store.memory import MemoryDisk, MemoryStore
from controlplane.adapters.store.schema import migrate
from controlplane.adapters.store.sqlite import SqliteStore
from controlplane.adapters.system import SystemIds
from controlplane.api.canonical import Plane, canonical_services
from controlplane.api.scopes import canonical_scopes
from controlplane.api.server import build_server
from controlplane.domain.account import hash_secret
from controlplane.domain.key_format import CANONICAL_KEYS
from controlplane.metrics import Metrics
from controlplane.ports.bus import Topic
from controlplane.usecases.core import Core, Policy
from controlplane.usecases.hub import EventHub
from controlplane.usecases.keys import KeyAuthenticator
from controlplane.usecases.offerbook import OfferBook
from controlplane.usecases.provider_credentials import CredentialBook
from controlplane.usecases.tokens import Tokens
from controlplane.wire import event as stream_messages
from tests.support.fakes import FakeClock, FakeIds
from tests.unit.api.canonical.support import (
    Client,
    FakeProvider,
    FakeVitals,
    Farm,
    offer,
    pb,
)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrated once: that takes longer than a test."""
    path = tmp_path_factory.mktemp("canonical") / "empty.db"
    asyncio.run(migrate(f"sqlite:///{path}", SystemIds(), lambda: "test"))
    return path


@pytest.fixture(params=["memory", "sqlite"])
async def farm(request: pytest.FixtureRequest, tmp_path: Any, empty_database: Path) -> Any:
    clock = FakeClock()
    ids, bus, secrets = FakeIds(1, clock), MemoryBus(), MasterKeySecrets(bytes(32))

    def committed(units: int, seconds: float) -> None:
        bus.notify(Topic.EVENTS)

    store: Any
    if request.param == "memory":
        store = MemoryStore(MemoryDisk(), clock, ids, committed)
    else:
        shutil.copy(empty_database, tmp_path / "plane.db")
        store = SqliteStore(tmp_path / "plane.db", clock, ids, committed)
    provider, vitals, metrics, book = FakeProvider(), FakeVitals(), Metrics(), OfferBook()
    book.update(
        "local", (offer("local-cpu"), offer("local-gpu", gpu_type="H100 SXM", gpu_count=2, vram_gb=80,
                                            price_nano_per_hour=4 * 10**9, reliability=0.99)),
        clock.now(),
    )  # fmt: skip
    vastai = (offer("vastai-1", price_nano_per_hour=5 * 10**7), offer("vastai-e", currency="EUR"))
    book.update("vastai", vastai, clock.now())
    core = Core(
        store, clock, ids, bus, secrets, AsyncsshKeyParser(), SimpleNamespace(), {"local": provider}, book,
        Policy(), "dep1", credentials=CredentialBook(("vastai",)),
    )  # type: ignore[arg-type]  # fmt: skip
    root = CANONICAL_KEYS.mint(bytes(24))
    authenticator = KeyAuthenticator(store, clock, hash_secret(root))
    tokens = Tokens(secrets, "epoch")
    hub = EventHub(store, bus, tokens, stream_messages, authenticator)
    await hub.start()
    server = build_server(
        canonical_services(Plane(core, tokens, hub, authenticator), vitals, metrics, "0.1.0"),
        authenticator,
        scopes=canonical_scopes(),
        metrics=metrics,
        addresses=["127.0.0.1:0"],
    )
    await server.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        stack.push_async_callback(server.stop, 0)
        follow = asyncio.ensure_future(hub.run())
        stack.callback(follow.cancel)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.addresses[0]))
        made = Farm(core, clock, hub, provider, vitals, channel, Client(channel, root), None, None)  # type: ignore[arg-type]
        for name in ("alice", "bob"):
            account = await made.operator.accounts.CreateAccount(pb.CreateAccountRequest(name=name))
            key = await made.operator.keys.CreateApiKey(pb.CreateApiKeyRequest(name="all", account_id=account.id))
            setattr(made, name, Client(channel, key.secret))
            if name == "alice":
                made.account_id = account.id
        yield made
