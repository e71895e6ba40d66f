"""What Vast.ai says it took for a machine: the sum of its charges [providers.md 2.4]."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from controlplane.adapters.providers.http import MarketplaceClient, NotUnderstood
from controlplane.adapters.providers.http.values import decimal
from controlplane.adapters.providers.vastai import wire
from controlplane.domain.money import NANO

CHARGES = "/api/v0/charges/"
_ROWS, _PAGES = 500, 20  # the most that a page holds, and that one machine is worth
_DAY_S = 86_400


async def total(client: MarketplaceClient, machine_id: str, since_s: int, now_s: int) -> int | None:
    """Nano-dollars for GPU and disk of a machine made at `since_s` (epoch seconds); None if no charge names it yet.
    Traffic is left out: our meter knows none. Raises ProviderError."""
    days = json.dumps({"day": {"gte": since_s - _DAY_S, "lte": now_s + _DAY_S}})
    query = {"select_filters": days, "limit": str(_ROWS)}
    found: list[Decimal] = []
    for _ in range(_PAGES):
        told = wire.well_formed(await client.request("charges", "GET", CHARGES, query=query))
        rows = told.get("results")
        if not isinstance(rows, list):
            raise NotUnderstood("charges without a list of them")
        found += [amount for row in rows for amount in _amounts(row, f"instance-{machine_id}")]
        token = told.get("next_token")
        if not isinstance(token, str) or not token:
            return int(sum(found) * NANO) if found else None
        query = {"select_filters": days, "limit": str(_ROWS), "after_token": token}
    raise NotUnderstood("charges without an end")


def _amounts(row: Any, source: str) -> list[Decimal]:
    if not isinstance(row, dict) or row.get("source") != source or not isinstance(row.get("items"), list):
        return []
    items = [item for item in row["items"] if isinstance(item, dict) and item.get("type") in ("gpu", "disk")]
    amounts = (decimal(item.get("amount")) for item in items)
    return [amount for amount in amounts if amount is not None and amount >= 0]
