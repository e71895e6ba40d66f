"""What was asked of a simulated marketplace, for tests to judge a client by. It holds no key to the marketplace."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from controlplane.simulators.wire import Cut, Outcome, Request

_LENGTH = 200_000
_SECRET_PARAMETERS = frozenset({"api_key", "api_token"})


@dataclass(slots=True)
class Entry:
    """One call. `at` is when it arrived (epoch seconds); `outcome` is the status sent, or how it was cut; 0 while it
    is being served.
    """

    at: float
    client: str
    endpoint: str
    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    auth: str  # the scheme or header by which a credential came; empty: none
    key_in_url: bool
    faults: list[str]
    outcome: int | str = 0


class Journal:
    """The calls, oldest first; the oldest go once there are too many."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_LENGTH)

    def note(self, at: float, client: str, endpoint: str, request: Request, faults: frozenset[str]) -> Entry:
        """Write a call down; its outcome is filled in later."""
        query = {name: ["***"] if name in _SECRET_PARAMETERS else list(v) for name, v in request.query.items()}
        entry = Entry(
            at=at,
            client=client,
            endpoint=endpoint,
            method=request.method,
            path=request.path,
            query=query,
            body=_value(request),
            auth=_auth(request),
            key_in_url=bool(_SECRET_PARAMETERS & set(request.query)),
            faults=sorted(faults),
        )
        self._entries.append(entry)
        return entry

    def entries(self, endpoint: str = "") -> list[Entry]:
        """The calls, or those of one endpoint."""
        return [entry for entry in self._entries if not endpoint or entry.endpoint == endpoint]

    def as_json(self, endpoint: str = "") -> list[dict[str, Any]]:
        """The same as JSON values."""
        return [asdict(entry) for entry in self.entries(endpoint)]

    def clear(self) -> None:
        """Forget them."""
        self._entries.clear()


def outcome_of(outcome: Outcome) -> int | str:
    """How a call ended, in the journal's words."""
    return f"cut {outcome.point}" if isinstance(outcome, Cut) else outcome.status


def _auth(request: Request) -> str:
    if "x-api-key" in request.headers:
        return "x-api-key"
    return request.headers.get("authorization", "").partition(" ")[0]


def _value(request: Request) -> Any:
    try:
        return json.loads(request.body) if request.body else None
    except ValueError:
        return request.body[:1000].decode("utf-8", "replace")
