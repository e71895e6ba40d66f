"""io.net's Python SDK at work; run by the venv's Python, prints what it saw as JSON.

It deploys a container and a virtual machine, waits for both, extends and deletes them, and makes three mistakes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable
from typing import Any

import iocloud

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP5uG0eTvt0l0VrF6nW5V0Q8m8m1Q3G6yYJm2dE9xq1z fidelity"
WAIT_S = 30.0


async def containers(io: iocloud.AsyncClient) -> dict[str, Any]:
    """Product CaaS."""
    gpu = next(item for item in await io.hardware.list() if item.available)
    made = await io.deployments.create(
        name="cp-caas", image="nginx", gpu=f"{gpu.hardware_id}:1", hours=1, port=8000, env={"CP_OP": "1"}
    )
    await made.wait(timeout=WAIT_S, poll=0.5)
    listed = [one.name async for one in io.deployments.list()]
    workers, bought = await made.containers(), made.data.compute_minutes_remaining
    extended = await made.extend(2)
    await made.delete()
    again = await io.deployments.get(made.id)
    return {
        "status": str(made.status.value), "listed": listed, "urls": [worker.public_url for worker in workers],
        "remaining": [bought, extended.data.compute_minutes_remaining],
        "after_delete": str(again.status.value),
    }  # fmt: skip


async def machines(io: iocloud.AsyncClient) -> dict[str, Any]:
    """Product VMaaS; the machine stays, for our adapter to look at."""
    gpu = (await io.vms.hardware())[0]
    size = f"{gpu.deploy_id}:{gpu.num_cards}"
    made = await io.vms.deploy(name="cp-vm", gpu=size, hours=1, ssh_keys={"k": SSH_KEY})
    await made.wait(timeout=WAIT_S, poll=0.5)
    workers = await io.vms.workers(made.id)
    extended = await io.vms.extend(made.id, 2)
    passing = await io.vms.deploy(name="cp-passing", gpu=size, hours=1, ssh_keys={"k": SSH_KEY})
    await io.vms.delete(passing.id)
    return {
        "id": made.id, "status": str(made.status.value),
        "ssh": [worker.ssh_access for worker in workers], "paid": str(extended.data.amount_paid),
        "listed": sorted([one.name async for one in io.vms.list()]),
    }  # fmt: skip


async def misshapen(io: iocloud.AsyncClient) -> None:
    """An order of more machines than one can be."""
    gpu = (await io.vms.hardware())[0]
    await io.vms.deploy(name="cp-odd", gpu=f"{gpu.deploy_id}:99", hours=1, ssh_keys={"k": SSH_KEY})


async def refused(call: Awaitable[Any]) -> str:
    """How the SDK names a failure."""
    try:
        await call
    except iocloud.APIError as error:
        return f"{type(error).__name__} {error.status_code}"
    return "no error"


async def main(url: str, key: str) -> None:
    async with iocloud.AsyncClient(api_key=key, base_url=url) as io:
        found = {
            "containers": await containers(io),
            "machines": await machines(io),
            "unknown": await refused(io.vms.get("00000000-0000-4000-8000-000000000000")),
            "misshapen": await refused(misshapen(io)),
        }
    async with iocloud.AsyncClient(api_key="wrong", base_url=url) as io:
        found["stranger"] = await refused(collect(io))
    print(json.dumps(found))


async def collect(io: iocloud.AsyncClient) -> list[str | None]:
    """The names of all machines."""
    return [one.name async for one in io.vms.list()]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
