"""Asking a machine's agent how it does. What it says is a hint: whoever rents the machine could answer
instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

_ANSWER_LIMIT = 4096


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for a socket that fits AF_UNIX's 108 bytes however deep its folder lies."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path) -> socket.socket:
    """The socket on which the agent will answer."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(path) as name:
            sock.bind(name)
        sock.listen(16)
    except BaseException:
        sock.close()
        raise
    return sock


async def ask_sessions(path: Path, timeout_s: float) -> int | None:
    """Tenants' SSH connections now; None when the agent does not answer, such as while it starts."""
    try:
        async with asyncio.timeout(timeout_s):
            with short_path(path) as name:
                reader, writer = await asyncio.open_unix_connection(name, limit=_ANSWER_LIMIT)
            try:
                answer = json.loads(await reader.read(_ANSWER_LIMIT))
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError, RecursionError):
        return None
    sessions = answer.get("sessions") if isinstance(answer, dict) else None
    return sessions if isinstance(sessions, int) and 0 <= sessions < 1_000_000 else None
