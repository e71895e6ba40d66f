"""Machines of the simulated Vast.ai that serve, and idle ones, through the real adapter, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation
from controlplane.domain.state import State
from controlplane.usecases import instances
from controlplane.usecases.idempotency import RequestKey
from controlplane.usecases.machine_secrets import model_key
from controlplane.usecases.wishes import CreateInstance
from tests.faults.lives import CALLER_KEY
from tests.faults.test_buying import Stage

IDLE_S = 300


async def accepted(stage: Stage, **wish: Any) -> Operation:
    """A wish for the cheapest offer on demand."""
    offer = min((offer for offer in stage.core.offers), key=lambda offer: offer.price_nano_per_hour)
    asked = CreateInstance(offer_id=offer.id, ssh_public_keys=(CALLER_KEY,), **wish)
    operation = await stage.lives.call(lambda core, me: instances.create(core, me, asked, RequestKey("create")))
    assert isinstance(operation, Operation)
    return operation


async def running(stage: Stage, **wish: Any) -> Instance:
    """Its machine, once it runs."""
    _, row = await stage.done(await accepted(stage, **wish))
    assert row.state is State.RUNNING, row
    return row


def row_of(stage: Stage, id: str) -> Instance:
    row: Instance = stage.lives.disk.table(Instance)[id]
    return row


def test_a_model_is_served_without_ssh_also_after_a_kill() -> None:
    async def scenario(stage: Stage) -> tuple[Instance, list[dict[str, Any]], str]:
        stage.markets["vastai"].configure({"ports_after_s": 20.0, "ssh_after_s": 30.0})
        operation = await accepted(stage, mode="model", model="x/y-7B", ports=(9000, 9001))
        await asyncio.sleep(15.0)  # the machine is made, and not up yet
        assert row_of(stage, operation.instance_id).state is State.STARTING
        stage.lives.kill()
        await stage.lives.boot()
        _, row = await stage.done(operation)
        return row, stage.markets["vastai"].journal.as_json("create"), model_key(stage.core.secrets, row.id)

    row, creates, key = Stage({"vastai": 20}).play(scenario)
    assert row.state is State.RUNNING
    assert row.model_url.startswith("http://203.0.113.")
    assert (row.ssh_host, row.ssh_port) == ("", 0)
    (create,) = creates
    assert create["body"]["args"] == ["--model", "x/y-7B", "--host", "0.0.0.0", "--port", "9000", "--api-key", key]


def test_an_image_of_its_own_is_ready_when_it_speaks_http() -> None:
    async def scenario(stage: Stage) -> Instance:
        return await running(stage, mode="model", image="me/comfy:1")

    row = Stage({"vastai": 20}).play(scenario)
    assert row.model_url.endswith("/v1")


@pytest.mark.parametrize("mode", [{}, {"mode": "model", "model": "x/y-7B"}])
def test_an_idle_machine_ends_once_nobody_used_it_for_so_long(mode: dict[str, str]) -> None:
    async def scenario(stage: Stage) -> list[State]:
        row = await running(stage, idle_timeout_s=IDLE_S, **mode)
        seen = []
        for percent in (90.0, -1.0, 0.0):  # busy, not measured, idle
            stage.markets["vastai"].configure({"utilisation_percent": percent})
            await asyncio.sleep(2 * IDLE_S)
            seen.append(row_of(stage, row.id).state)
        assert row_of(stage, row.id).stop_reason == "IDLE"
        assert stage.markets["vastai"].alive() == []
        return seen

    states = Stage({"vastai": 20}).play(scenario)
    assert states == [State.RUNNING, State.RUNNING, State.TERMINATED]
