"""Reading machines: the whole list page by page, and single machines many at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from controlplane.adapters.providers.http import Batcher, MarketplaceClient, NotUnderstood, Recent, Unclear, values
from controlplane.adapters.providers.http.client import DEADLINE_S
from controlplane.adapters.providers.vastai import machines, wire
from controlplane.ports.clock import Clock
from controlplane.ports.provider import Listing, Machine, MachineStatus

LISTING_S = 140.0
"""For all pages, at one a second: some three thousand machines."""

_PAGE = 25  # the most that the vendor puts on a page
_MOST_PAGES = 1000
_COUNTS = ("instances_found", "total_instances")


class Roster:
    """The account's machines as the vendor lists them."""

    def __init__(self, client: MarketplaceClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._all = Recent(self._read_all, 0.0, clock)
        self._some = Batcher(self._turn, self._read_some, _PAGE)

    async def list(self, label_prefix: str) -> Listing:
        """See `Provider.list`."""
        everything = await self._all.get()
        ours = tuple(m for m in everything.machines if m.label.startswith(label_prefix))
        return Listing(everything.complete, ours)

    async def describe(self, machine_id: str) -> Machine:
        """See `Provider.describe`. A machine that the list lacks is asked for by itself: only that answer can say
        that it is gone."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._describe(machine_id)
        except TimeoutError:
            raise Unclear(f"no word of a machine within {DEADLINE_S:.0f} s") from None

    def close(self) -> None:
        """Let go of who waits."""
        self._some.close()

    async def _describe(self, machine_id: str) -> Machine:
        listed = await self._some.get(machine_id)
        return listed if listed is not None else await self.verify(machine_id)

    async def verify(self, machine_id: str) -> Machine:
        """One machine, asked for by itself."""
        answer = await self._client.request("show", "GET", wire.instance_path(machine_id), probing=True)
        if wire.is_absent(answer):
            return Machine(machine_id, "", MachineStatus.GONE)
        told = wire.well_formed(answer)
        if "instances" not in told:
            raise NotUnderstood("an answer about a machine without the machine")
        if told["instances"] is None:
            return Machine(machine_id, "", MachineStatus.GONE)
        machine = machines.machine_of(told["instances"])
        if machine is None or machine.id != machine_id:
            raise NotUnderstood("an answer about another machine, or none")
        return replace(machine, seen_at=answer.sent_at)

    async def _turn(self) -> None:
        await self._client.admit("list")

    async def _read_some(self, machine_ids: Sequence[str]) -> Mapping[str, Machine]:
        chosen = {"id": {"in": [int(machine_id) for machine_id in machine_ids]}}
        answer = await self._client.request("list", "GET", wire.INSTANCES, query=_page(None, chosen), admitted=True)
        found = (machines.machine_of(row) for row in wire.rows(answer, "instances"))
        return {machine.id: replace(machine, seen_at=answer.sent_at) for machine in found if machine is not None}

    async def _read_all(self) -> Listing:
        """All pages. Complete only if the pages ended by themselves, every row named a machine, and there are as
        many as the vendor says."""
        found: dict[str, Machine] = {}
        whole, promised = True, 0
        token: str | None = None
        tokens: set[str] = set()
        until = self._clock.monotonic() + LISTING_S
        for _ in range(_MOST_PAGES):
            answer = await self._client.request("list", "GET", wire.INSTANCES, query=_page(token, {}), probing=True)
            for row in wire.rows(answer, "instances"):
                machine = machines.machine_of(row)
                if machine is None:
                    whole = False
                else:
                    found[machine.id] = machine
            counts = (values.natural(answer.value.get(name), 10**9) or 0 for name in _COUNTS)
            promised = max(promised, *counts)
            token = _next_token(answer.value)
            if token is None or token in tokens or self._clock.monotonic() >= until:
                break
            tokens.add(token)
        return Listing(whole and token is None and len(found) >= promised, tuple(found.values()))


def _page(token: str | None, chosen: Mapping[str, Any]) -> dict[str, str]:
    query = {"limit": str(_PAGE), "order_by": '[{"col":"id","dir":"asc"}]'}
    if chosen:
        query["select_filters"] = json.dumps(chosen)
    if token is not None:
        query["after_token"] = token
    return query


def _next_token(told: Mapping[str, Any]) -> str | None:
    """None: this was the last page. A page that does not say so is no last page."""
    if "next_token" not in told:
        raise NotUnderstood("a page of machines that does not tell whether it is the last")
    token = told["next_token"]
    if token is None or token == "":
        return None
    if not isinstance(token, str):
        raise NotUnderstood("a page of machines with an unreadable token")
    return token
