"""One call for many askers: look-ups gathered into batches, and answers that serve a little longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

from controlplane.ports.clock import Clock
from controlplane.ports.provider import ProviderError

V = TypeVar("V")


class Batcher(Generic[V]):
    """Gathers look-ups by key while they wait for a turn, and asks for up to `most` keys at once.

    `turn` waits until a call may be sent; `fetch` sends it and returns what it found. A key that it did not find is
    None. When either fails, all who waited for that call get its ProviderError.
    """

    def __init__(
        self, turn: Callable[[], Awaitable[None]], fetch: Callable[[Sequence[str]], Awaitable[Mapping[str, V]]],
        most: int,
    ) -> None:  # fmt: skip
        self._turn, self._fetch, self._most = turn, fetch, most
        self._waiting: dict[str, list[asyncio.Future[V | None]]] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._worker: asyncio.Task[None] | None = None

    async def get(self, key: str) -> V | None:
        """What a call that began after this found of the key."""
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    def close(self) -> None:
        """Let go of who still waits."""
        for task in (self._worker, *self._calls):
            if task is not None:
                task.cancel()
        for futures in self._waiting.values():
            _settle(futures, ProviderError("the control plane is closing"))
        self._waiting.clear()

    async def _work(self) -> None:
        while self._wanted():
            try:
                await self._turn()
            except ProviderError as error:
                self._fail_waiting(error)
                return
            keys = self._wanted()[: self._most]
            taken = {key: self._waiting.pop(key) for key in keys}
            if taken:
                call = asyncio.create_task(self._call(taken))  # a slow answer does not delay the next call
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)

    async def _call(self, taken: dict[str, list[asyncio.Future[V | None]]]) -> None:
        outcome: Mapping[str, V] | ProviderError
        try:
            outcome = await self._fetch(list(taken))
        except ProviderError as error:
            outcome = error
        except asyncio.CancelledError:
            outcome = ProviderError("the control plane is closing")
        for key, futures in taken.items():
            _settle(futures, outcome if isinstance(outcome, ProviderError) else outcome.get(key))

    def _wanted(self) -> list[str]:
        """Keys that somebody still waits for, the oldest first."""
        for key in [k for k, futures in self._waiting.items() if all(f.done() for f in futures)]:
            del self._waiting[key]
        return list(self._waiting)

    def _fail_waiting(self, error: ProviderError) -> None:
        waiting, self._waiting = self._waiting, {}
        for futures in waiting.values():
            _settle(futures, error)


def _settle(futures: Sequence[asyncio.Future[V | None]], outcome: V | ProviderError | None) -> None:
    for future in futures:
        if future.done():
            continue
        if isinstance(outcome, ProviderError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


class Recent(Generic[V]):
    """An answer for all who ask while it is fresh. One fetch at a time; who asked before it began shares it, so that
    with `fresh_s` 0 nobody gets an answer older than the question."""

    def __init__(self, fetch: Callable[[], Awaitable[V]], fresh_s: float, clock: Clock) -> None:
        self._fetch, self._fresh_s, self._clock = fetch, fresh_s, clock
        self._line = asyncio.Lock()
        self._begun = 0
        self._kept: tuple[int, float, V] | None = None  # which fetch, when it began, what it brought

    async def get(self, fresh_s: float | None = None) -> V:
        """The answer, of the age given or less. Raises what `fetch` raises; the next one in line then tries again."""
        fresh_s = self._fresh_s if fresh_s is None else fresh_s
        before = self._begun
        if self._kept is not None and self._clock.monotonic() - self._kept[1] < fresh_s:
            return self._kept[2]  # whatever somebody who wants a fresher one waits for
        async with self._line:
            now = self._clock.monotonic()
            if self._kept is not None and (self._kept[0] > before or now - self._kept[1] < fresh_s):
                return self._kept[2]
            self._begun += 1
            number = self._begun
            self._kept = (number, now, await self._fetch())
            return self._kept[2]
