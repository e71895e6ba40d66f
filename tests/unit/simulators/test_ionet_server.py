"""The simulated io.net behind a real socket, with machines that let their tenants in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncssh
import httpx2
import pytest

from controlplane.simulators.clock import SystemClock
from controlplane.simulators.fake_machines import FakeMachines
from controlplane.simulators.faults import Faults
from controlplane.simulators.ionet import IonetMarketplace
from controlplane.simulators.server import SimulatorServer
from tests.support.api_caller import port_opens

API = "/enterprise/v1/io-cloud/vmaas"


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    market = IonetMarketplace(SystemClock(), faults=Faults(boot_s=(0.0, 0.0)), premises=FakeMachines(), keys=["good"])
    server = SimulatorServer(market)
    url = await server.start()
    async with httpx2.AsyncClient(base_url=url + API, headers={"x-api-key": "good"}, timeout=10) as client:
        yield client
    await server.close()


async def test_the_ssh_command_of_a_vm_works_with_its_key_alone(client: httpx2.AsyncClient) -> None:
    hardware = (await client.get("/hardware")).json()["data"][0]
    mine, other = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    order = {
        "resource_private_name": "cp-1", "hardware_id": hardware["deploy_id"], "duration_hours": 1,
        "gpus_per_vm": 1, "ssh_keys": {"me": mine.export_public_key().decode()},
    }  # fmt: skip
    deployed = (await client.post("/deploy", json=order)).json()
    command = await ssh_access(client, deployed["deployment_id"])
    _, target, _, port = command.split()
    user, _, host = target.partition("@")
    await port_opens(host, int(port))
    async with asyncssh.connect(host, int(port), username=user, client_keys=[mine], known_hosts=None, config=[]) as ssh:
        assert (await ssh.run("gpuplane-probe")).exit_status == 0
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(host, int(port), username=user, client_keys=[other], known_hosts=None, config=[])
    assert (await client.delete(f"/deployment/{deployed['deployment_id']}")).status_code == 200


async def ssh_access(client: httpx2.AsyncClient, deployment_id: str) -> str:
    """The command, once it is told."""
    async with asyncio.timeout(10):
        while True:
            (worker,) = (await client.get(f"/deployment/{deployment_id}/vms")).json()["data"]["workers"]
            if worker["ssh_access"] is not None:
                return str(worker["ssh_access"])
            await asyncio.sleep(0.02)


async def test_a_wrong_key_is_refused(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/deployments", headers={"x-api-key": "bad"})
    assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid API key"})
