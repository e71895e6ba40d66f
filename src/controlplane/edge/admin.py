"""Envoy's admin interface over its unix socket: the few questions the supervisor asks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from controlplane.edge.errors import EdgeError

_TIMEOUT_S = 5.0


class Admin:
    """Each call is one short connection. Whatever goes wrong is an EdgeError."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def ready(self) -> bool:
        """Whether Envoy serves: its listeners are open and it was not told to drain."""
        try:
            await self.ask("GET", "/ready")
        except EdgeError:
            return False
        return True

    async def ports(self) -> dict[str, int]:
        """The port of each listener by name, as chosen by the kernel where the configuration says 0."""
        found = json.loads(await self.ask("GET", "/listeners?format=json"))
        return {
            listener["name"]: listener["local_address"]["socket_address"]["port_value"]
            for listener in found["listener_statuses"]
        }

    async def stat(self, name: str) -> int:
        """The value of one counter or gauge; 0 until it was first used."""
        text = (await self.ask("GET", f"/stats?filter=^{name.replace('.', '%5C.')}$")).decode()
        return int(text.rpartition(":")[2]) if text.strip() else 0

    async def ask(self, method: str, path: str) -> bytes:
        """The body of one answer; an answer other than 200 is an error."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                head, body = await self._exchange(method, path)
        except (OSError, EOFError, TimeoutError) as error:
            raise EdgeError(f"Envoy's admin socket {self._socket} does not answer: {error!r}") from error
        status = head.split(b" ", 2)[1]
        if status != b"200":
            raise EdgeError(f"Envoy answers {method} {path} with {status.decode()}")
        return body

    async def _exchange(self, method: str, path: str) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            # Envoy sends chunks unless the caller speaks HTTP/1.0, which it refuses; so they are joined here.
            writer.write(f"{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if b"transfer-encoding: chunked" not in head.lower():
                return head, await reader.read()
            body = bytearray()
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            return head, bytes(body)
        finally:
            writer.close()
