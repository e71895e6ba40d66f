"""Talking to a machine's agent: how it does, and another key to let in. What it says is a hint: whoever rents the
machine could answer instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

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
    sessions = (await _converse(path, timeout_s)).get("sessions")
    return sessions if isinstance(sessions, int) and 0 <= sessions < 1_000_000 else None


async def add_key(path: Path, line: str, timeout_s: float) -> bool:
    """Let a key in from now on, as long as the machine lives; false when the agent does not confirm it."""
    return (await _converse(path, timeout_s, {"add_key": line})).get("added") is True


async def _converse(path: Path, timeout_s: float, *words: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the agent says last: it begins by telling how things stand, then answers each word. Empty for silence."""
    try:
        async with asyncio.timeout(timeout_s):
            with short_path(path) as name:
                reader, writer = await asyncio.open_unix_connection(name, limit=_ANSWER_LIMIT)
            try:
                answer = await reader.readline()
                for word in words:
                    writer.write(json.dumps(word).encode() + b"\n")
                    answer = await reader.readline()
            finally:
                writer.close()
            told = json.loads(answer)
    except (OSError, TimeoutError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
