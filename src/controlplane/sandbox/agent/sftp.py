"""The SFTP program of one session, on its standard input and output.

A process of its own and never part of the agent: a client may name /proc/self/mem or /proc/self/fd, and in
the agent those lead to sockets of the host's network.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from asyncssh import SFTPServer
from asyncssh.logging import logger
from asyncssh.sftp import run_sftp_server

_VERSION = 3  # what OpenSSH speaks


class _Reader:
    """The part of asyncssh's reader that its SFTP handler uses."""

    logger = logger

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream

    async def readexactly(self, size: int) -> bytes:
        return await self._stream.readexactly(size)

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default


class _Writer:
    """The part of asyncssh's writer and channel that its SFTP handler uses."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self.channel = self

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        self._transport.close()


class _Channel:
    """What SFTPServer asks its channel for at the start."""

    logger = logger

    def get_connection(self) -> Any:
        return self

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), sys.stdin.buffer)
    closed = loop.create_future()
    transport, _ = await loop.connect_write_pipe(lambda: _Closing(closed), sys.stdout.buffer)
    channel: Any = _Channel()
    reader: Any = _Reader(stream)
    writer: Any = _Writer(transport)
    await run_sftp_server(SFTPServer(channel), reader, writer, _VERSION)
    transport.close()
    await closed


class _Closing(asyncio.BaseProtocol):
    """Tells when the last answer has left."""

    def __init__(self, closed: asyncio.Future[None]) -> None:
        self._closed = closed

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set_result(None)

    def pause_writing(self) -> None:
        """Answers are bounded by the requests in flight, so nothing needs holding back."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""


def main() -> None:
    """Serve until the client closes its side."""
    asyncio.run(_serve())
