"""HTTP/1.1 by hand: the tests look at bytes that clients hide, and send what clients would not."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any


@dataclass
class Response:
    """An answer: `headers` with names as they came."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One connection, one request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._chunked = False
        self._left = 0

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> Response:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        lower = {name.lower(): value for name, value in headers.items()}
        self._chunked = lower.get("transfer-encoding") == "chunked"
        self._left = int(lower.get("content-length", 0))
        return Response(int(lines[0].split(" ")[1]), headers)

    async def chunk(self) -> bytes:
        """The next piece of the body; empty at its end, an error where it is cut."""
        if not self._chunked:
            data = await self._reader.readexactly(self._left)
            self._left = 0
            return data
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        data = await self._reader.readexactly(size + 2)
        return data[:-2]

    async def rest(self) -> bytes:
        body = b""
        while data := await self.chunk():
            body += data
        return body


@asynccontextmanager
async def connect(target: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Connection]:
    host, _, port = target.rpartition(":")
    # Bodies of 4 MiB may be answered before they are read: the answer must not be lost to a full buffer.
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls, limit=1 << 26)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def call(
    target: str,
    method: str,
    path: str,
    body: Any = b"",
    *,
    chunked: bool = False,
    tls: ssl.SSLContext | None = None,
    **headers: str,
) -> Response:
    """One exchange. A body that is not bytes goes as JSON; header names come with underscores."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"host": target} | {name.replace("_", "-"): value for name, value in headers.items()}
    sent |= {"transfer-encoding": "chunked"} if chunked else {"content-length": str(len(data))}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    async with connect(target, tls) as connection:
        pieces = [data[i : i + 65536] for i in range(0, len(data), 65536)]
        if chunked:
            pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]

        async def send() -> None:
            with suppress(ConnectionError):
                for piece in (f"{head}\r\n".encode(), *pieces):
                    await connection.send(piece)

        sender = asyncio.create_task(send())
        response = await connection.head()
        response.body = await connection.rest()
        sender.cancel()
    return response
