"""Group commit: many callers, one commit.

Callers hand in units of work and await one shared commit. While a batch is being committed the next one gathers; so
batches grow with load and a lone caller waits for nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from controlplane.adapters.store.batch import Outcome
from controlplane.domain.errors import Unavailable
from controlplane.ports.store import UnitOfWork

T = TypeVar("T")
Committed = Callable[[int, float], None]
"""Told after every commit: how many units it held, and how many seconds it took."""

Apply = Callable[[Sequence[UnitOfWork[Any]]], Awaitable[list[Outcome]]]

MAX_BATCH = 512


class GroupCommitWriter:
    """Batches units of work for `apply`, which commits a whole batch at once."""

    def __init__(self, apply: Apply, committed: Committed) -> None:
        self._apply = apply
        self._committed = committed
        self._queue: list[tuple[UnitOfWork[Any], asyncio.Future[Any]]] = []
        self._wake: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def run(self, unit: UnitOfWork[T]) -> T:
        """Commit one unit together with whatever else is waiting."""
        if self._closed:
            raise Unavailable("the store is closing; nothing was changed, try again")
        loop = asyncio.get_running_loop()
        if self._task is None:
            self._task = loop.create_task(self._loop(), name="store-writer")
        future: asyncio.Future[T] = loop.create_future()
        self._queue.append((unit, future))
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        return await future

    async def close(self) -> None:
        """Commit what is queued, then stop."""
        self._closed = True
        if self._task is not None:
            if self._wake is not None and not self._wake.done():
                self._wake.set_result(None)
            await self._task

    async def _loop(self) -> None:
        while self._queue or not self._closed:
            if not self._queue:
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
                self._wake = None
            batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
            # A caller that went away before its turn is skipped; one that goes away later changes nothing for others.
            batch = [(unit, future) for unit, future in batch if not future.done()]
            if batch:
                await self._commit(batch)

    async def _commit(self, batch: list[tuple[UnitOfWork[Any], asyncio.Future[Any]]]) -> None:
        began = time.monotonic()
        try:
            outcomes = await self._apply([unit for unit, _ in batch])
        except Exception as error:
            outcomes = [Outcome(error=error)] * len(batch)
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if future.done():
                continue
            if outcome.error is not None:
                future.set_exception(outcome.error)
            else:
                future.set_result(outcome.value)
        self._committed(len(batch), time.monotonic() - began)
