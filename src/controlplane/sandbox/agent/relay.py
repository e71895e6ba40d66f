"""The server that a machine has beside SSH (a model's, or Jupyter): kept running, its output in the journal, reached
through an inherited socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any, Protocol

from .children import Children
from .journal import Journal

_CHUNK = 65536
_RESTART_S = (0.5, 1.0, 2.0, 5.0, 15.0)


class Host(Protocol):
    """What the server needs from the agent."""

    children: Children
    journal: Journal
    env: dict[str, str]


class Service:
    """Supervises one server and relays connections to it."""

    def __init__(self, config: dict[str, Any], host: Host) -> None:
        self._name: str = config["name"]
        self._argv: list[str] = config["argv"]
        self._env: dict[str, str] = config["env"]
        self._port: int = config["port"]
        self._host = host
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, door: socket.socket) -> None:
        """Begin to serve; returns at once. Until the server listens clients get a 503."""
        self._tasks.add(asyncio.create_task(self._supervise()))
        await asyncio.start_server(self._relay, sock=door)

    async def _supervise(self) -> None:
        for attempt in range(1_000_000):
            status = await self._run_once()
            self._host.journal.write(f"{self._name} server ended with status {status}; starting it again")
            await asyncio.sleep(_RESTART_S[min(attempt, len(_RESTART_S) - 1)])

    async def _run_once(self) -> int:
        env = {**self._host.env, **self._env}
        output, theirs = os.pipe()
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            _, ended = self._host.children.start(self._argv, env, stdin=null, stdout=theirs, stderr=theirs)
        finally:
            os.close(theirs)
            os.close(null)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb", 0)
        )
        await self._record(reader)
        return await ended

    async def _record(self, reader: asyncio.StreamReader) -> None:
        rest = b""
        while data := await reader.read(_CHUNK):
            *lines, rest = (rest + data)[-_CHUNK:].split(b"\n")
            for line in lines:
                self._host.journal.write(f"{self._name}: {line.decode('utf-8', 'replace').rstrip()}")

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            with contextlib.suppress(OSError):
                await reader.read(_CHUNK)
                writer.write(_NOT_READY)
                await writer.drain()
            writer.close()
            return
        await asyncio.gather(_pump(reader, server_writer), _pump(server_reader, writer))
        _close_all(server_writer.close, writer.close)


_BODY = b'{"error":{"message":"The server is still starting.","type":"server_error","code":503}}'
_NOT_READY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
    b"connection: close\r\ncontent-length: " + str(len(_BODY)).encode() + b"\r\n\r\n" + _BODY
)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until either side ends, then pass the end on so that the other side ends too."""
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


def _close_all(*closers: Callable[[], None]) -> None:
    for close in closers:
        with contextlib.suppress(OSError):
            close()
