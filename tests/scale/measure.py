"""Stop-watches of the scale tests."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

TICK_S = 0.002
MOST_MS = 250.0


@dataclass(slots=True)
class Measured:
    """How long something took, and for how long it let nothing else run on the event loop, in milliseconds."""

    ms: float = 0.0
    stall_ms: float = 0.0


@contextlib.asynccontextmanager
async def measured(name: str) -> AsyncIterator[Measured]:
    """Print what the body took; fails when it stalled the event loop for longer."""
    found = Measured()

    async def tick() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(TICK_S)
            found.stall_ms = max(found.stall_ms, (time.perf_counter() - began - TICK_S) * 1000)

    gc.collect()
    gc.freeze()  # what earlier tests left behind is not this one's to be held up by
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(3 * TICK_S)
    found.stall_ms, began = 0.0, time.perf_counter()
    try:
        yield found
    finally:
        found.ms = (time.perf_counter() - began) * 1000
        await asyncio.sleep(2 * TICK_S)
        ticking.cancel()
    print(f"{name:<44}{found.ms:10.2f} ms, event loop stalled {found.stall_ms:7.2f} ms")
    assert found.stall_ms < MOST_MS, f"{name} stalled the event loop for {found.stall_ms:.0f} ms"
