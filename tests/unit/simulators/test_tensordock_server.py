"""The simulated TensorDock behind a real socket, with machines that let their tenants in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncssh
import httpx2
import pytest

from controlplane.simulators.clock import SystemClock
from controlplane.simulators.fake_machines import FakeMachines
from controlplane.simulators.faults import Faults
from controlplane.simulators.server import SimulatorServer
from controlplane.simulators.tensordock import TensordockMarketplace
from tests.support.api_caller import port_opens


@pytest.fixture
async def market() -> TensordockMarketplace:
    return TensordockMarketplace(SystemClock(), faults=Faults(boot_s=(0.0, 0.0)), premises=FakeMachines())


@pytest.fixture
async def client(market: TensordockMarketplace) -> AsyncIterator[httpx2.AsyncClient]:
    server = SimulatorServer(market)
    url = await server.start()
    headers = {"authorization": "Bearer token"}
    async with httpx2.AsyncClient(base_url=f"{url}/api/v2", headers=headers, timeout=10) as client:
        yield client
    await server.close()


async def order(client: httpx2.AsyncClient, key: str) -> dict[str, Any]:
    """A create of one GPU of the first location."""
    location = (await client.get("/locations")).json()["data"]["locations"][0]
    attributes = {
        "name": "cp-1", "type": "virtualmachine", "image": "ubuntu2204", "location_id": location["id"],
        "resources": {
            "vcpu_count": 4, "ram_gb": 8, "storage_gb": 100, "gpus": {location["gpus"][0]["v0Name"]: {"count": 1}},
        },
        "useDedicatedIp": True, "ssh_key": key,
        "cloud_init": {"runcmd": [f"echo '{key}' >> /home/user/.ssh/authorized_keys"]},
    }  # fmt: skip
    return {"data": {"type": "virtualmachine", "attributes": attributes}}


async def test_cloud_init_lets_the_tenant_in(client: httpx2.AsyncClient) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    body = await order(client, key.export_public_key().decode().strip())
    created = (await client.post("/instances", json=body)).json()["data"]
    async with asyncio.timeout(10):
        while "ipAddress" not in (row := (await client.get(f"/instances/{created['id']}")).json()):
            await asyncio.sleep(0.02)
    host, port = row["ipAddress"], row["portForwards"][0]["external_port"]
    await port_opens(host, port)
    async with asyncssh.connect(host, port, username="user", client_keys=[key], known_hosts=None, config=[]) as ssh:
        assert (await ssh.run("gpuplane-probe")).exit_status == 0


async def test_a_cut_create_has_made_one_machine(client: httpx2.AsyncClient, market: TensordockMarketplace) -> None:
    body = await order(client, "ssh-ed25519 " + "A" * 68)
    market.configure({"queue": [{"endpoint": "create", "fault": "lost_response"}]})
    with pytest.raises(httpx2.RemoteProtocolError):
        await client.post("/instances", json=body)
    (row,) = (await client.get("/instances")).json()["data"]
    assert row["name"] == "cp-1"
