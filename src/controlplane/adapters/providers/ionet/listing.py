"""The list of deployments, page by page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from controlplane.adapters.providers.http import Answer
from controlplane.adapters.providers.http.values import natural
from controlplane.adapters.providers.ionet import envelope
from controlplane.adapters.providers.ionet.machines import Row, row

PAGE_SIZE = 100  # the most there is
_MOST_PAGES = 500

Ask = Callable[[Mapping[str, str]], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Deployments:
    """By id. `complete` if nothing can have been missed: every page had the same total, and that many were seen."""

    rows: Mapping[str, Row]
    complete: bool


async def read(ask: Ask, status: str = "") -> Deployments:
    """All pages that `ask` gets by their parameters, of deployments in that status or in any. Raises ProviderError."""
    rows: dict[str, Row] = {}
    totals: set[int | None] = set()
    sound = True
    for page in range(1, _MOST_PAGES + 1):
        parameters = {"page": str(page), "page_size": str(PAGE_SIZE), **({"status": status} if status else {})}
        found, beside = envelope.items(await ask(parameters), "deployments")
        read_rows = [row(each) for each in found]
        rows.update((each.id, each) for each in read_rows if each is not None)
        totals.add(natural(beside.get("total"), PAGE_SIZE * _MOST_PAGES))
        sound = sound and None not in read_rows and all(each.label for each in read_rows if each is not None)
        if len(found) < PAGE_SIZE:
            break
    return Deployments(rows, complete=sound and totals == {len(rows)})
