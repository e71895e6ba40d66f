"""Calls of Vast.ai's API that most tests make."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from controlplane.simulators.vastai import VastMarketplace
from controlplane.simulators.vastai.contract import Contract
from tests.unit.simulators.driver import Driver

IMAGE = "nvidia/cuda:12.4.1-base-ubuntu22.04"
BOOTED_S = 5.0  # more than a well-behaved boot takes


class Vast(Driver):
    """A client of the simulated Vast.ai."""

    market: VastMarketplace

    async def search(self, **query: Any) -> list[dict[str, Any]]:
        """The offers found."""
        found: list[dict[str, Any]] = (await self.json("POST", "/api/v0/bundles/", query))["offers"]
        return found

    async def ask(self, **query: Any) -> dict[str, Any]:
        """The cheapest offer."""
        return (await self.search(order=[["dph_total", "asc"]], limit=1, **query))[0]

    async def create(self, ask_id: int | None = None, **body: Any) -> int:
        """A new instance's id."""
        number = ask_id if ask_id is not None else (await self.ask())["id"]
        order = {"image": IMAGE, "disk": 20, "label": "cp-t-1", "cancel_unavail": True, **body}
        created = await self.json("PUT", f"/api/v0/asks/{number}/", order)
        return int(created["new_contract"])

    async def running(self, **body: Any) -> int:
        """A new instance's id, once it runs."""
        instance = await self.create(**body)
        self.clock.advance(BOOTED_S)
        return instance

    async def show(self, instance: int) -> Any:
        """Its row, or None."""
        return (await self.json("GET", f"/api/v0/instances/{instance}/"))["instances"]

    async def change(self, instance: int, **body: Any) -> Any:
        """Start, stop or label it."""
        return await self.json("PUT", f"/api/v0/instances/{instance}/", body)

    async def destroy(self, instance: int) -> None:
        """End it."""
        assert (await self.json("DELETE", f"/api/v0/instances/{instance}/"))["success"]

    async def list(self, status: int = 200, **parameters: Any) -> Any:
        """One page of the v1 list."""
        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in parameters.items()}
        query = "&".join(f"{name}={quote(value)}" for name, value in texts.items())
        return await self.json("GET", f"/api/v1/instances/?{query}", status=status)

    def contract(self, instance: int) -> Contract:
        """The model's own record."""
        return self.market.machines[str(instance)]

    def account(self, instance: int) -> dict[str, Any]:
        """Its line in the ledger."""
        machines = self.control("GET", "ledger")["machines"]
        found: dict[str, Any] = next(line for line in machines if line["id"] == str(instance))
        return found
