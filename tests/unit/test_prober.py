"""Whether something serves over HTTP, whatever it is: against a server of a few canned statuses."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.adapters.prober import SshProber
from controlplane.ports.probe import ProbeResult

DEADLINE_S = 5.0


async def asked(statuses: dict[str, int]) -> tuple[ProbeResult, list[str]]:
    """What is made of a server with those statuses by path, and which paths were asked for."""
    paths: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        paths.append(path)
        # The body never ends: nobody is to wait for it.
        writer.write(f"HTTP/1.1 {statuses[path]} X\r\ncontent-length: 1000000\r\nlocation: /x\r\n\r\n".encode())
        await writer.drain()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        return await SshProber().http_health(f"http://127.0.0.1:{port}", DEADLINE_S), paths
    finally:
        server.close()


@pytest.mark.parametrize("status", [200, 204, 404])
async def test_whoever_answers_for_its_health_serves(status: int) -> None:
    found, paths = await asked({"/health": status})
    assert (found.ready, paths) == (True, ["/health"])


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("health", [301, 401, 403, 405])
async def test_where_health_is_forbidden_or_moved_the_root_will_do(health: int, status: int) -> None:
    found, paths = await asked({"/health": health, "/": status})
    assert (found.ready, paths) == (True, ["/health", "/"])


@pytest.mark.parametrize(
    ("statuses", "said"), [({"/health": 503}, "503"), ({"/health": 500}, "500"), ({"/health": 401, "/": 502}, "502")]
)
async def test_a_failing_server_is_still_coming_up(statuses: dict[str, int], said: str) -> None:
    found, paths = await asked(statuses)
    assert (found.ready, found.permanent, paths) == (False, False, list(statuses))
    assert said in found.reason


async def test_nobody_there_is_not_ready() -> None:
    found = await SshProber().http_health("http://127.0.0.1:1", DEADLINE_S)
    assert (found.ready, found.permanent) == (False, False)
    assert "not reachable" in found.reason
