"""Reads by id gathered into few statements: what many callers ask at the same time is asked once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

PATIENCE_S = 0.05
FLIGHTS = 3
"""One statement is on its way at a time: two would hold half the ids each. Only while the last one has been on its way
for PATIENCE_S does another leave, up to so many, so that a connection that hangs does not hold up every caller."""

MAX_IDS = 500


class GatheredReads(Generic[T]):
    """Answers `get` for many callers with one `fetch(ids)`: all that gathered while the last one was on its way.

    A statement is sent after every caller it serves has asked, so each sees what was committed before its call.
    """

    def __init__(self, fetch: Callable[[Sequence[str]], Awaitable[dict[str, T]]]) -> None:
        self._fetch = fetch
        self._waiting: list[tuple[str, asyncio.Future[T | None]]] = []
        self._flights: set[asyncio.Task[None]] = set()
        self._flying = 0
        self._left_at = 0.0

    async def get(self, id: str) -> T | None:
        """The row of one id, or None."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T | None] = loop.create_future()
        self._waiting.append((id, future))
        if not self._flying or (self._flying < FLIGHTS and loop.time() - self._left_at > PATIENCE_S):
            self._flying += 1
            self._left_at = loop.time()
            flight = loop.create_task(self._fly(), name="store-read")
            self._flights.add(flight)  # the loop itself keeps no task alive
            flight.add_done_callback(self._flights.discard)
        return await future

    async def _fly(self) -> None:
        try:
            await self._answer_all()
        finally:
            self._flying -= 1

    async def _answer_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_IDS], self._waiting[MAX_IDS:]
            # A caller that went away is not asked for, nor answered.
            ids = {id for id, future in batch if not future.done()}
            if ids:
                self._left_at = asyncio.get_running_loop().time()
                await self._answer(list(ids), batch)

    async def _answer(self, ids: list[str], batch: list[tuple[str, asyncio.Future[T | None]]]) -> None:
        try:
            rows = await self._fetch(ids)
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for id, future in batch:
            if not future.done():
                future.set_result(rows.get(id))
