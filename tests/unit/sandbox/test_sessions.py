"""Moving bytes between a client and a process."""

from __future__ import annotations

import asyncio
import os

from controlplane.sandbox.agent.sessions import _Input

CHUNK = 300_000  # several times what a pipe holds


class Channel:
    """A client that was held back with its last data and its end of file still to come."""

    def __init__(self) -> None:
        self.transport: asyncio.WriteTransport | None = None
        self.paused = False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        assert self.transport is not None
        self.transport.write(b"b" * CHUNK)
        self.transport.close()


async def test_nothing_is_lost_when_the_end_follows_a_pause() -> None:
    reading, writing = os.pipe()
    channel = Channel()
    transport, _ = await asyncio.get_running_loop().connect_write_pipe(
        lambda: _Input(channel), os.fdopen(writing, "wb", 0)
    )
    channel.transport = transport
    transport.write(b"a" * CHUNK)
    assert channel.paused

    def read_all() -> bytes:
        with os.fdopen(reading, "rb") as file:
            return file.read()

    received = await asyncio.wait_for(asyncio.to_thread(read_all), 10)
    assert received == b"a" * CHUNK + b"b" * CHUNK
