"""Asking a simulated marketplace: its API without a socket, and its machines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from controlplane.simulators.marketplace import Marketplace
from controlplane.simulators.wire import Request, Response


class ApiCaller:
    """A client of one marketplace. `prefix` goes before every path."""

    def __init__(self, market: Marketplace[Any], prefix: str, headers: Mapping[str, str]) -> None:
        self._market = market
        self._prefix = prefix
        self._headers = headers

    async def answer(self, method: str, path: str, body: Any = None, **query: object) -> Response:
        """The whole answer; a cut one fails the test."""
        outcome = await self._market.handle(
            Request(
                method=method,
                path=self._prefix + path,
                query={name: [str(value)] for name, value in query.items()},
                headers=self._headers,
                body=b"" if body is None else json.dumps(body).encode(),
            )
        )
        assert isinstance(outcome, Response)
        return outcome

    async def call(self, method: str, path: str, body: Any = None, **query: object) -> tuple[int, Any]:
        """Status and JSON value."""
        answer = await self.answer(method, path, body, **query)
        return answer.status, answer.json()


async def port_opens(host: str, port: int) -> None:
    """Return once connections are accepted there; fail after ten seconds."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
