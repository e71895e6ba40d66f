"""A simulated marketplace behind a real socket, with real SSH servers as its machines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import httpx2
import pytest

from controlplane.sandbox.host import Host
from controlplane.simulators.clock import SystemClock
from controlplane.simulators.fake_machines import FakeMachines
from controlplane.simulators.machines import Premises, Tenancy
from controlplane.simulators.sandbox_machines import SandboxMachines
from controlplane.simulators.server import SimulatorServer
from controlplane.simulators.vastai import VastMarketplace
from tests.unit.simulators.vast import IMAGE

_PATIENCE_S = 20.0


@dataclass
class Running:
    """A server and a client of it."""

    server: SimulatorServer
    http: httpx2.AsyncClient

    async def configure(self, **switches: Any) -> None:
        """Change switches by the control surface."""
        answer = await self.http.post("/_sim/config", json=switches)
        assert answer.status_code == 200, answer.text

    async def create(self, key: str) -> int:
        """An instance with a key."""
        order = {"limit": 1, "order": [["dph_total", "asc"]]}
        ask = (await self.http.post("/api/v0/bundles/", json=order)).json()["offers"][0]["id"]
        body = {"image": IMAGE, "onstart": f"echo '{key}'", "runtype": "ssh_direct", "label": "cp-t-1"}
        return int((await self.http.put(f"/api/v0/asks/{ask}/", json=body)).json()["new_contract"])

    async def address(self, instance: int) -> tuple[str, int]:
        """Where its SSH is, once it is told."""
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                row = (await self.http.get(f"/api/v0/instances/{instance}/")).json()["instances"]
                if "ports" in row:
                    return row["public_ipaddr"].strip(), int(row["ports"]["22/tcp"][0]["HostPort"])
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running(premises: Premises | None = None) -> AsyncIterator[Running]:
    server = SimulatorServer(VastMarketplace(SystemClock(), premises=premises))
    url = await server.start()
    headers = {"authorization": "Bearer test"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=_PATIENCE_S, trust_env=False) as http:
        try:
            yield Running(server, http)
        finally:
            await server.close()


def pair() -> tuple[asyncssh.SSHKey, str]:
    key = asyncssh.generate_private_key("ssh-ed25519")
    return key, key.export_public_key("openssh").decode().strip()


async def log_in(address: tuple[str, int], key: asyncssh.SSHKey, command: str, user: str = "root") -> str:
    options: dict[str, Any] = {"username": user, "client_keys": [key], "known_hosts": None, "agent_path": None}
    async with asyncssh.connect(*address, config=None, **options) as connection:
        done = await connection.run(command, check=True)
        return str(done.stdout)


async def test_one_connection_serves_many_calls_in_plain_json() -> None:
    async with running() as market:
        for _ in range(3):
            answer = await market.http.post("/api/v0/bundles/", json={"limit": 2})
            assert answer.headers["content-type"] == "application/json"
            assert len(answer.json()["offers"]) == 2
        calls = (await market.http.get("/_sim/journal")).json()["calls"]
        assert [call["client"] for call in calls] == ["127.0.0.1"] * 3


async def test_cuts_are_seen_at_once() -> None:
    async with running() as market:
        await market.configure(queue=[{"endpoint": "search", "fault": "lost_response"}])
        with pytest.raises(httpx2.RemoteProtocolError):
            await market.http.post("/api/v0/bundles/", json={})
        await market.configure(queue=[{"endpoint": "search", "fault": "cut_body"}])
        with pytest.raises(httpx2.RemoteProtocolError):
            await market.http.post("/api/v0/bundles/", json={})
        assert (await market.http.post("/api/v0/bundles/", json={})).status_code == 200


async def test_chunked_bodies_and_100_continue_are_understood() -> None:
    async with running() as market:

        async def chunks() -> AsyncIterator[bytes]:
            yield b'{"lim'
            yield b'it": 1}'

        answer = await market.http.post("/api/v0/bundles/", content=chunks())
        assert len(answer.json()["offers"]) == 1
        host, port = market.server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /api/v0/bundles/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"{}")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_nonsense_and_huge_bodies_end_only_their_own_connection() -> None:
    async with running() as market:
        host, port = market.server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert await reader.read() == b""
        writer.close()
        answer = await market.http.post("/api/v0/bundles/", content=b" " * (5 << 20))
        assert answer.status_code == 413
        assert (await market.http.get("/health")).status_code == 200


async def test_a_taken_port_is_an_error() -> None:
    async with running() as market:
        port = int(market.server.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            await SimulatorServer(VastMarketplace(SystemClock())).start(port=port)


async def test_a_fake_machine_lets_in_its_own_key_and_nobody_else() -> None:
    async with running(FakeMachines()) as market:
        await market.configure(boot_s=0)
        (mine, line), (stranger, _) = pair(), pair()
        one, two = await market.create(line), await market.create(line)
        first, second = await market.address(one), await market.address(two)
        assert first != second
        assert await log_in(first, mine, "gpuplane-probe") == ""
        assert await log_in(first, mine, "nvidia-smi") == "simulated\n"
        for key, user in ((stranger, "root"), (mine, "ubuntu")):
            with pytest.raises(asyncssh.PermissionDenied):
                await log_in(first, key, "true", user)
        await market.http.delete(f"/api/v0/instances/{one}/")
        async with asyncio.timeout(_PATIENCE_S):
            while await is_open(first):
                await asyncio.sleep(0.05)
        assert await is_open(second)


async def test_a_fake_machine_refuses_connections_then_keys_then_lets_in() -> None:
    async with running(FakeMachines()) as market:
        await market.configure(boot_s=0, ssh_after_s=3600)
        key, line = pair()
        address = await market.address(await market.create(line))
        assert not await is_open(address)
        await market.configure(ssh_after_s=0, keys_after_s=3600)
        async with asyncio.timeout(_PATIENCE_S):
            while not await is_open(address):
                await asyncio.sleep(0.05)
        with pytest.raises(asyncssh.PermissionDenied):
            await log_in(address, key, "true")
        await market.configure(keys_after_s=0)
        async with asyncio.timeout(_PATIENCE_S):
            while not await lets_in(address, key):
                await asyncio.sleep(0.05)


async def test_a_fake_machine_that_was_used_goes_away_and_comes_back() -> None:
    async with running(FakeMachines()) as market:
        await market.configure(boot_s=0)
        key, line = pair()
        instance = await market.create(line)
        address = await market.address(instance)
        await log_in(address, key, "true")
        async with asyncssh.connect(*address, username="root", client_keys=[key], known_hosts=None):
            await market.http.put(f"/api/v0/instances/{instance}/", json={"state": "stopped"})
            async with asyncio.timeout(_PATIENCE_S):
                while await is_open(address):
                    await asyncio.sleep(0.05)
        await market.http.put(f"/api/v0/instances/{instance}/", json={"state": "running"})
        async with asyncio.timeout(_PATIENCE_S):
            while not await is_open(address):
                await asyncio.sleep(0.05)
        await log_in(address, key, "true")


async def test_a_machine_that_cannot_be_tended_leaves_the_others_theirs() -> None:
    class Clumsy(FakeMachines):
        failures = 0

        async def tend(self, tenancies: Sequence[Tenancy]) -> None:
            if tenancies and not self.failures:
                self.failures += 1
                raise OSError("no port left")
            await super().tend(tenancies)

    premises = Clumsy()
    async with running(premises) as market:
        await market.configure(boot_s=0)
        key, line = pair()
        await log_in(await market.address(await market.create(line)), key, "true")
    assert premises.failures == 1


async def test_a_sandbox_has_a_real_shell(tmp_path: Path) -> None:
    if reason := Host().refusal:
        pytest.skip(reason)
    async with running(SandboxMachines(tmp_path / "machines")) as market:
        await market.configure(boot_s=0)
        key, line = pair()
        instance = await market.create(line)
        address = await market.address(instance)
        assert await log_in(address, key, "echo $((6 * 7)); id -un") == "42\nroot\n"
        await market.http.delete(f"/api/v0/instances/{instance}/")
    assert not list((tmp_path / "machines").iterdir())


async def test_a_sandbox_that_gets_another_key_keeps_its_files(tmp_path: Path) -> None:
    if reason := Host().refusal:
        pytest.skip(reason)
    async with running(SandboxMachines(tmp_path / "machines")) as market:
        await market.configure(boot_s=0)
        (first, line), (second, other) = pair(), pair()
        instance = await market.create(line)
        address = await market.address(instance)
        await log_in(address, first, "echo mine > file")
        await market.http.post(f"/api/v0/instances/{instance}/ssh/", json={"ssh_key": other})
        async with asyncio.timeout(_PATIENCE_S):
            while not await lets_in(address, second):
                await asyncio.sleep(0.05)
        assert await log_in(address, second, "cat file") == "mine\n"
        assert await log_in(address, first, "cat file") == "mine\n"


async def lets_in(address: tuple[str, int], key: asyncssh.SSHKey) -> bool:
    """Whether the key is accepted now."""
    try:
        await log_in(address, key, "true")
        return True
    except asyncssh.PermissionDenied:
        return False


async def is_open(address: tuple[str, int]) -> bool:
    """Whether the port accepts connections."""
    try:
        _, writer = await asyncio.open_connection(*address)
    except OSError:
        return False
    writer.close()
    return True
