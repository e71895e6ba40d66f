"""A marketplace model behind the adapters' HTTP client, without sockets: what travels takes virtual time, and what was
sent arrives whatever becomes of its sender."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import Context
from typing import Any
from urllib.parse import parse_qs

import httpx2

from controlplane.simulators.marketplace import Marketplace
from controlplane.simulators.wire import Cut, CutPoint, Outcome, Request

TRAVEL_S = 0.05  # at most, one way

Gate = Callable[[], Awaitable[None]]


class InProcess(httpx2.AsyncBaseTransport):
    """Carries an adapter's requests to `market`. Passes `gate` before a request leaves and before its answer is
    heard; `unreachable` is the share of connections that cannot be made."""

    def __init__(self, market: Marketplace[Any], gate: Gate, rng: random.Random, unreachable: float = 0.0) -> None:
        self._market, self._gate, self._rng, self._unreachable = market, gate, rng, unreachable

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See httpx2. A task without our context serves the call: a killed plane takes only its own tasks along."""
        await self._gate()
        if self._rng.random() < self._unreachable:
            raise httpx2.ConnectError("connection refused")
        arriving = self._deliver(_plain(request), self._rng.random() * TRAVEL_S)
        outcome = await asyncio.shield(asyncio.get_running_loop().create_task(arriving, context=Context()))
        await asyncio.sleep(self._rng.random() * TRAVEL_S)
        await self._gate()
        return _answer(outcome, request)

    async def _deliver(self, request: Request, after_s: float) -> Outcome:
        await asyncio.sleep(after_s)
        return await self._market.handle(request)


class _CutBody(httpx2.AsyncByteStream):
    """Half of a body, and then a closed connection."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body[: len(self._body) // 2]
        raise httpx2.RemoteProtocolError("peer closed connection without sending complete message body")


def _plain(request: httpx2.Request) -> Request:
    return Request(
        method=request.method,
        path=request.url.path,
        query=parse_qs(request.url.query.decode("ascii"), keep_blank_values=True),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=request.read(),
    )


def _answer(outcome: Outcome, request: httpx2.Request) -> httpx2.Response:
    if not isinstance(outcome, Cut):
        return httpx2.Response(outcome.status, headers=dict(outcome.headers), content=outcome.body, request=request)
    if outcome.point is CutPoint.BEFORE:
        raise httpx2.RemoteProtocolError("server disconnected without sending a response")
    whole = outcome.response
    return httpx2.Response(whole.status, headers=dict(whole.headers), stream=_CutBody(whole.body), request=request)
