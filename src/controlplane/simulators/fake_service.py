"""What a pretended machine serves in place of SSH: as much of an OpenAI-compatible API as tells that it is there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

from controlplane.simulators.machines import Service

_ANSWER_S = 10.0
_WORDS = {200: "OK", 401: "Unauthorized", 404: "Not Found"}


async def serve(sock: socket.socket, service: Service) -> asyncio.Server:
    """Listen on a bound socket until closed; one request a connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_ANSWER_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(*_answer(head.decode("latin-1"), service)))
                await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, sock=sock)


def _answer(head: str, service: Service) -> tuple[int, object]:
    """Status and body for a request's head."""
    request, *lines = head.split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    match request.split(" ")[:2]:
        case ["GET", "/health"]:
            return 200, {}
        case ["GET", "/v1/models"] if service.model:
            if service.api_key and headers.get("authorization") != f"Bearer {service.api_key}":
                return 401, {"error": "Unauthorized"}
            return 200, {"object": "list", "data": [{"id": service.model, "object": "model"}]}
    return 404, {"detail": "Not Found"}


def _response(status: int, value: object) -> bytes:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status} {_WORDS[status]}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"{head}connection: close\r\n\r\n".encode() + body
