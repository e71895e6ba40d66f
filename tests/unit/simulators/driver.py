"""A client of a simulated marketplace without sockets."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from controlplane.simulators.clock import ManualClock
from controlplane.simulators.control import control
from controlplane.simulators.marketplace import Marketplace
from controlplane.simulators.wire import Cut, Outcome, Request, Response

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdwdXBsYW5lIHNpbXVsYXRvciB0ZXN0IGtleSAxMjM0"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdwdXBsYW5lIHNpbXVsYXRvciB0ZXN0IGtleSA1Njc4"


class Driver:
    """Calls the marketplace with a key, in manual time."""

    def __init__(self, market: Marketplace[Any], clock: ManualClock, key: str = "test") -> None:
        self.market = market
        self.clock = clock
        self.key = key

    async def outcome(self, method: str, target: str, body: Any = None) -> Outcome:
        """What becomes of a call."""
        return await self.market.handle(self.request(method, target, body))

    async def call(self, method: str, target: str, body: Any = None) -> Response:
        """A call that is answered."""
        outcome = await self.outcome(method, target, body)
        assert not isinstance(outcome, Cut)
        return outcome

    async def json(self, method: str, target: str, body: Any = None, *, status: int = 200) -> Any:
        """The value of an answer with this status."""
        response = await self.call(method, target, body)
        assert response.status == status, response.body
        return response.json()

    def control(self, method: str, action: str, body: Any = None, *, status: int = 200) -> Any:
        """A call of the control surface."""
        response = control(self.market, self.request(method, f"/_sim/{action}", body))
        assert response.status == status, response.body
        return response.json()

    def request(self, method: str, target: str, body: Any = None) -> Request:
        """The request as the server would hand it over."""
        parts = urlsplit(target)
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        return Request(method, parts.path, parse_qs(parts.query, keep_blank_values=True), headers, content)
