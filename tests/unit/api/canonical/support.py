"""What the tests of the canonical servicers share: doubles, a client, and a running plane without loops."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import grpc
from gpuplane.v1 import (
    account_service_pb2,
    account_service_pb2_grpc,
    budget_service_pb2,
    budget_service_pb2_grpc,
    instance_service_pb2,
    instance_service_pb2_grpc,
    key_service_pb2,
    key_service_pb2_grpc,
    offer_service_pb2,
    offer_service_pb2_grpc,
    operation_service_pb2,
    operation_service_pb2_grpc,
    provider_credential_service_pb2,
    provider_credential_service_pb2_grpc,
    stray_service_pb2,
    stray_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
    usage_service_pb2,
    usage_service_pb2_grpc,
    webhook_service_pb2,
    webhook_service_pb2_grpc,
)

from controlplane.api.vitals import Check
from controlplane.domain.instance import Instance
from controlplane.domain.offer import Offer, Tier
from controlplane.domain.principal import ALL
from controlplane.domain.state import State
from controlplane.ports.provider import Capabilities, Machine, MachineStatus, Utilisation
from controlplane.ports.store import Get, UnitOfWork
from controlplane.usecases.core import Core
from controlplane.usecases.hub import EventHub
from tests.support.fakes import SECOND, START, FakeClock

Code = grpc.StatusCode
HOUR = 3600 * SECOND
DAY = 24 * HOUR
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9y9SYGOgcBlnK9Wj7oqOl0NkrH7R1T9vWm1Zu4a7Qe me@home"

pb = SimpleNamespace(
    **{
        name: getattr(module, name)
        for module in (
            account_service_pb2, budget_service_pb2, instance_service_pb2, key_service_pb2, offer_service_pb2,
            operation_service_pb2, provider_credential_service_pb2, stray_service_pb2, system_service_pb2,
            usage_service_pb2, webhook_service_pb2,
        )
        for name in module.DESCRIPTOR.message_types_by_name
    }
)  # fmt: skip


def offer(id: str, **changes: Any) -> Offer:
    fields: dict[str, Any] = {
        "id": id, "provider": id.partition("-")[0], "gpu_type": "cpu", "gpu_count": 0, "vram_gb": 0, "cpu_count": 4,
        "memory_gb": 8, "disk_gb": 100, "region": "eu", "location": "here", "tier": Tier.ON_DEMAND,
        "price_nano_per_hour": 10**8, "currency": "USD", "available": 1, "seen_at": START,
    } | changes  # fmt: skip
    return Offer(**fields)


class FakeProvider:
    name = "local"

    def __init__(self) -> None:
        self.capabilities = Capabilities(logs=True, call_timeout_s=0.05)
        self.answer: Any = Machine("m1", "l", MachineStatus.RUNNING, utilisation=Utilisation(cpu_percent=12.5))

    async def describe(self, machine_id: str) -> Machine:
        return await self._answer()

    async def logs(self, machine_id: str, *, tail: int) -> str:
        await self._answer()
        return f"last {tail} of {machine_id}\n"

    async def _answer(self) -> Any:
        if self.answer == "silence":
            await asyncio.sleep(60)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class FakeVitals:
    ready = True
    swept = True
    found = (Check("store", True, 0.0012, vital=True), Check("vastai", False, message="asked in vain"))

    async def checks(self) -> Any:
        return self.found


@dataclass
class Client:
    """Stubs that send one key."""

    channel: grpc.aio.Channel
    token: str

    def __getattr__(self, service: str) -> Any:
        modules = {
            "accounts": account_service_pb2_grpc.AccountsStub, "budgets": budget_service_pb2_grpc.BudgetsStub,
            "instances": instance_service_pb2_grpc.InstancesStub, "keys": key_service_pb2_grpc.KeysStub,
            "offers": offer_service_pb2_grpc.OffersStub, "operations": operation_service_pb2_grpc.OperationsStub,
            "provider_credentials": provider_credential_service_pb2_grpc.ProviderCredentialsStub,
            "strays": stray_service_pb2_grpc.StraysStub, "system": system_service_pb2_grpc.SystemStub,
            "usage": usage_service_pb2_grpc.UsageStub,
            "webhooks": webhook_service_pb2_grpc.WebhooksStub,
        }  # fmt: skip
        stub, metadata = modules[service](self.channel), (("authorization", f"Bearer {self.token}"),)

        class Bound:
            def __getattr__(self, method: str) -> Any:
                return lambda request, **kw: getattr(stub, method)(request, metadata=metadata, **kw)

        return Bound()


@dataclass
class Farm:
    core: Core
    clock: FakeClock
    hub: EventHub
    provider: FakeProvider
    vitals: FakeVitals
    channel: grpc.aio.Channel
    operator: Client
    alice: Client
    bob: Client
    account_id: str = ""

    async def put(self, *rows: Any) -> None:
        def decide(tx: Any) -> None:
            for row in rows:
                tx.put(row)

        await self.core.store.run(UnitOfWork(ALL, [Get(type(row), row.id) for row in rows], decide))
        await self.hub.pump()

    async def create(self, client: Client | None = None, **fields: Any) -> Any:
        request = pb.CreateInstanceRequest(**({"offer_id": "local-cpu"} | fields))
        return await (client or self.alice).instances.CreateInstance(request)

    async def running(self, **changes: Any) -> str:
        made = await self.create()
        row = await self.core.store.get(ALL, Instance, made.instance_id)
        assert row is not None
        fields: dict[str, Any] = {
            "state": State.RUNNING, "provider": "local", "machine_id": "m1", "ssh_host": "10.0.0.1", "ssh_port": 22,
            "ssh_user": "root", "run_at": START, "seen_at": START,
        } | changes  # fmt: skip
        await self.put(replace(row, **fields))
        return row.id
