"""The adapter of tests.support.market; a plane loads it with GPUPLANE_PLUGINS=tests.support.market_provider:build."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any
from urllib.parse import urlsplit

from controlplane.domain.offer import Offer, Tier
from controlplane.ports.provider import (
    Ambiguous,
    Capabilities,
    Created,
    Destruction,
    LaunchOutcome,
    LaunchSpec,
    Listing,
    Machine,
    MachineStatus,
    Provider,
    ProviderError,
    SshEndpoint,
)
from controlplane.settings import Settings
from tests.support.market import URL_VARIABLE

OFFER = "market-cpu"
PLUGIN = "tests.support.market_provider:build"


def build(settings: Settings) -> MarketProvider:
    """The marketplace at TEST_MARKET_URL."""
    return MarketProvider(os.environ[URL_VARIABLE])


class MarketProvider(Provider):
    """`Provider` over the marketplace's HTTP API."""

    name = "market"
    capabilities = Capabilities(
        launch_timeout_s=10.0, call_timeout_s=5.0, late_create_s=0.2, transition_poll_s=0.25, steady_poll_s=5.0,
        start_deadline_s=120.0, concurrency=64,
    )  # fmt: skip

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)

    async def offers(self) -> tuple[Offer, ...]:
        """One kind of machine, without end."""
        return (
            Offer(
                OFFER, self.name, "cpu", 0, 0, 1, 1, 100, "eu", "elsewhere", Tier.ON_DEMAND, 10_000_000, "USD",
                1_000_000, time.time_ns() // 1000,
            ),
        )  # fmt: skip

    async def launch(self, spec: LaunchSpec) -> LaunchOutcome:
        """One POST; a connection that ends before the answer says nothing."""
        try:
            status, answer = await self._call("POST", "/machines", {"label": spec.label})
        except ProviderError as error:
            return Ambiguous(str(error))
        return Created(answer["id"]) if status == 200 else Ambiguous(f"HTTP {status}")

    async def list(self, label_prefix: str) -> Listing:
        """All that live."""
        _, answer = await self._call("GET", f"/machines?label_prefix={label_prefix}")
        return Listing(True, tuple(_machine(item) for item in answer))

    async def describe(self, machine_id: str) -> Machine:
        """GONE when the marketplace says so or never knew it."""
        status, answer = await self._call("GET", f"/machines/{machine_id}")
        return _machine(answer) if status == 200 else Machine(machine_id, "", MachineStatus.GONE)

    async def destroy(self, machine_id: str, *, grace_s: float) -> Destruction:
        """At once."""
        await self._call("DELETE", f"/machines/{machine_id}")
        return Destruction.GONE

    async def _call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        try:
            reader, writer = await asyncio.open_connection(self._address.hostname, self._address.port)
        except OSError as error:
            raise ProviderError(f"the marketplace cannot be reached: {error}") from error
        try:
            data = json.dumps(body).encode() if body is not None else b""
            writer.write(f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
            head, _, content = (await reader.read()).partition(b"\r\n\r\n")
            return int(head.split(b" ")[1]), json.loads(content)
        except (OSError, ValueError, IndexError) as error:
            raise ProviderError(f"the connection was cut: {error!r}") from error
        finally:
            writer.close()


def _machine(item: dict[str, Any]) -> Machine:
    status = MachineStatus.RUNNING if item["gone_at"] is None else MachineStatus.GONE
    return Machine(item["id"], item["label"], status, SshEndpoint(**item["ssh"]), created_at=item["made_at"])
