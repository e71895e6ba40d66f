"""A marketplace in the test's hand: scripted answers behind an in-process transport, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx2

from tests.simulation.world import VirtualClock, VirtualLoop

T = TypeVar("T")
Reply = httpx2.Response | Exception
Handler = Callable[[httpx2.Request], Reply | Awaitable[Reply]]


def in_virtual_time(body: Callable[[VirtualClock], Coroutine[Any, Any, T]]) -> T:
    """Run a test's body on a loop whose waits cost nothing."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(body(VirtualClock(loop)))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def answer(value: Any = None, status: int = 200, text: str | None = None, **headers: str) -> httpx2.Response:
    """A JSON answer, or a plain one with `text`. Header names are written with underscores."""
    body = text if text is not None else json.dumps(value)
    kind = "text/html" if text is not None else "application/json"
    named = {name.replace("_", "-"): content for name, content in headers.items()}
    return httpx2.Response(status, content=body.encode(), headers={"content-type": kind, **named})


@dataclass
class Marketplace(httpx2.AsyncBaseTransport):
    """Answers by the handler of "METHOD /path", else by `other`; keeps a journal of all requests with their times."""

    routes: dict[str, Handler] = field(default_factory=dict)
    other: Handler = lambda request: answer({"error": "no such route"}, 404)
    latency_s: float = 0.1
    journal: list[tuple[float, httpx2.Request]] = field(default_factory=list)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        self.journal.append((asyncio.get_running_loop().time(), request))
        await asyncio.sleep(self.latency_s)
        handler = self.routes.get(f"{request.method} {request.url.path}", self.other)
        reply = handler(request)
        if not isinstance(reply, (httpx2.Response, Exception)):
            reply = await reply
        if isinstance(reply, Exception):
            raise reply
        return reply

    def sent(self, method: str, path: str = "") -> list[httpx2.Request]:
        """Requests of that method, and path if given."""
        return [r for _, r in self.journal if r.method == method and (not path or r.url.path == path)]

    def times(self, method: str) -> list[float]:
        """When the requests of that method came."""
        return [at for at, r in self.journal if r.method == method]


def in_turn(*replies: Reply) -> Handler:
    """One reply after the other; the last one again and again."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


async def hang(_: httpx2.Request) -> Reply:
    """Never answer."""
    await asyncio.sleep(86_400)
    raise AssertionError("nobody waits that long")
