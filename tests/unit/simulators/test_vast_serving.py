"""Instances of the simulated Vast.ai that keep their image's entrypoint, and how busy instances say they are."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from controlplane.simulators.clock import SystemClock
from controlplane.simulators.fake_machines import FakeMachines
from controlplane.simulators.machines import Service
from controlplane.simulators.server import SimulatorServer
from controlplane.simulators.vastai import VastMarketplace
from tests.unit.simulators.vast import Vast

ARGS = ["--model", "x/y-7B", "--host", "0.0.0.0", "--port", "9000", "--api-key", "k"]
ENV = {"-p 8080:8080": "1", "-p 9000:9000": "1"}
PATIENCE_S = 20.0


async def test_an_instance_without_ssh_maps_the_port_that_it_serves_on(vast: Vast) -> None:
    instance = await vast.create(runtype="args", image="vllm/vllm-openai", args=ARGS, env=ENV)
    assert "ports" not in await vast.show(instance)
    vast.clock.advance(10)
    row = await vast.show(instance)
    assert (row["image_runtype"], row["image_args"]) == ("args", ARGS)
    assert "22/tcp" not in row["ports"]
    host = row["public_ipaddr"].strip()
    found = {
        inside: vast.market.who_answers(host, int(mapped[0]["HostPort"])) for inside, mapped in row["ports"].items()
    }
    assert found["8080/tcp"] is None, "nothing listens there"
    assert found["9000/tcp"] is not None
    assert (found["9000/tcp"].service, found["9000/tcp"].keys) == (Service("x/y-7B", "k"), ())
    assert vast.market.who_answers(row["ssh_host"], row["ssh_port"]) is None


@pytest.mark.parametrize(
    ("order", "inside", "service"),
    [
        ({"args": ["--model-id", "m", "--port", "8080"]}, "8080/tcp", Service("m", "")),
        ({}, "8080/tcp", Service("", "")), ({"args": ["--port", "1"]}, None, Service("", "")),
    ],
)  # fmt: skip
async def test_where_and_what_it_serves(vast: Vast, order: Any, inside: str | None, service: Service) -> None:
    instance = await vast.running(runtype="args", env=ENV, **order)
    assert vast.market.tenancy(vast.contract(instance), vast.clock.now()).service == service
    row = await vast.show(instance)
    reached = [
        name
        for name, mapped in row["ports"].items()
        if vast.market.who_answers(row["public_ipaddr"].strip(), int(mapped[0]["HostPort"]))
    ]
    assert reached == ([inside] if inside else [])


async def test_instances_are_busy_unless_told_otherwise(vast: Vast) -> None:
    instance = await vast.create()
    assert (await vast.show(instance))["gpu_util"] < 0, "nobody measures what does not run"
    vast.clock.advance(10)
    assert (await vast.show(instance))["gpu_util"] == 90.0
    vast.market.configure({"utilisation_percent": 0})
    row = await vast.show(instance)
    assert (row["gpu_util"], row["cpu_util"]) == (0.0, 0.0)


async def _url(http: httpx2.AsyncClient) -> str:
    """Where a new instance serves, once it is told."""
    ask = (await http.post("/api/v0/bundles/", json={"limit": 1})).json()["offers"][0]["id"]
    order = {"image": "vllm/vllm-openai", "runtype": "args", "args": ARGS, "env": ENV, "label": "cp-t-1"}
    made = (await http.put(f"/api/v0/asks/{ask}/", json=order)).json()["new_contract"]
    async with asyncio.timeout(PATIENCE_S):
        while "ports" not in (row := (await http.get(f"/api/v0/instances/{made}/")).json()["instances"]):
            await asyncio.sleep(0.05)
    return f"http://{row['public_ipaddr'].strip()}:{row['ports']['9000/tcp'][0]['HostPort']}"


async def test_a_fake_machine_really_serves() -> None:
    server = SimulatorServer(VastMarketplace(SystemClock(), premises=FakeMachines()))
    headers = {"authorization": "Bearer test"}
    try:
        async with httpx2.AsyncClient(base_url=await server.start(), headers=headers) as http:
            await http.post("/_sim/config", json={"boot_s": 0})
            url = await _url(http)
            async with httpx2.AsyncClient(base_url=url) as service:
                async with asyncio.timeout(PATIENCE_S):
                    while not await _up(service):
                        await asyncio.sleep(0.05)
                assert (await service.get("/v1/models")).status_code == 401
                found = await service.get("/v1/models", headers={"authorization": "Bearer k"})
                assert [model["id"] for model in found.json()["data"]] == ["x/y-7B"]
                assert (await service.get("/")).status_code == 404
                assert (await service.post("/health")).status_code == 404
    finally:
        await server.close()


async def _up(service: httpx2.AsyncClient) -> bool:
    try:
        return (await service.get("/health")).status_code == 200
    except httpx2.ConnectError:
        return False
