"""A marketplace as a process of its own, and a poor one: two identical creates make two machines.

    with MarketProcess(folder) as market:   # its journal says what was made and destroyed, and when
        os.environ[URL_VARIABLE] = market.url   # for tests.support.market_provider, which the plane loads as a plugin

`python -m tests.support.market --port 0 --state FILE` prints its address and appends to FILE one JSON line for every
create and destroy. A create takes effect half-way through its 50 ms, whether or not the caller still listens. All
machines share one SSH server, which lets every key in and knows one command: the control plane's probe.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncssh

URL_VARIABLE = "TEST_MARKET_URL"
CREATE_S = 0.05
PROBE_COMMAND = "gpuplane-probe"


def now() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


@dataclass
class MarketMachine:
    """A machine, alive until `gone_at`."""

    id: str
    label: str
    made_at: int
    gone_at: int | None = None


class MarketServer:
    """HTTP/1.1, one request per connection."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal.open("a", buffering=1)
        self._machines: dict[str, MarketMachine] = {}
        self._creating: set[asyncio.Task[MarketMachine]] = set()
        self._ssh: dict[str, Any] = {}

    async def serve(self, port: int) -> None:
        """For ever."""
        key = asyncssh.generate_private_key("ssh-ed25519")
        ssh = await asyncssh.listen(
            "127.0.0.1", 0, server_factory=_Open, server_host_keys=[key], process_factory=_answer, login_timeout=20
        )
        host_key = " ".join(key.export_public_key("openssh").decode().split()[:2])
        self._ssh = {"host": "127.0.0.1", "port": ssh.get_port(), "user": "root", "host_key": host_key}
        server = await asyncio.start_server(self._client, "127.0.0.1", port, backlog=1024)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, _ = head.split("\r\n", 1)[0].split(" ")
            lengths = [line.split(":")[1] for line in head.lower().split("\r\n") if line.startswith("content-length:")]
            body = await reader.readexactly(int(lengths[0])) if lengths else b""
            status, answer = await self._answer(method, target, json.loads(body or b"{}"))
            data = json.dumps(answer).encode()
            writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
            await writer.drain()
        writer.close()

    async def _answer(self, method: str, target: str, body: dict[str, Any]) -> tuple[int, Any]:
        parts = urlsplit(target)
        id = parts.path.removeprefix("/machines").removeprefix("/")
        if method == "POST":
            # A task of its own: a caller that hangs up or dies does not take its order back.
            task = asyncio.create_task(self._create(body["label"]))
            self._creating.add(task)
            task.add_done_callback(self._creating.discard)
            return 200, self._shown(await task)
        if not id:
            prefix = parse_qs(parts.query).get("label_prefix", [""])[0]
            alive = [m for m in self._machines.values() if m.gone_at is None and m.label.startswith(prefix)]
            return 200, [self._shown(machine) for machine in alive]
        machine = self._machines.get(id)
        if machine is None:
            return 404, {}
        if method == "DELETE" and machine.gone_at is None:
            await asyncio.sleep(0.01)
            machine.gone_at = machine.gone_at or now()
            self._write(machine)
        return 200, self._shown(machine)

    async def _create(self, label: str) -> MarketMachine:
        await asyncio.sleep(CREATE_S / 2)
        machine = MarketMachine(f"m{len(self._machines) + 1}", label, now())
        self._machines[machine.id] = machine
        self._write(machine)
        await asyncio.sleep(CREATE_S / 2)
        return machine

    def _shown(self, machine: MarketMachine) -> dict[str, Any]:
        return asdict(machine) | {"ssh": self._ssh}

    def _write(self, machine: MarketMachine) -> None:
        self._journal.write(json.dumps(asdict(machine)) + "\n")


class _Open(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return True


def _answer(process: asyncssh.SSHServerProcess[str]) -> None:
    process.exit(0 if process.command == PROBE_COMMAND else 127)


class MarketProcess:
    """The marketplace as a child process. It outlives every plane, and ends with `close`."""

    def __init__(self, folder: Path) -> None:
        self.journal = folder / "market.jsonl"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.market", "--port", "0", "--state", str(self.journal)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], process_group=0, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url, "the marketplace does not start"

    def machines(self) -> dict[str, MarketMachine]:
        """Every machine that was ever made, by id, as the journal has it."""
        found: dict[str, MarketMachine] = {}
        for line in self.journal.read_text().splitlines() if self.journal.exists() else ():
            with contextlib.suppress(ValueError):  # a line that is being written
                machine = MarketMachine(**json.loads(line))
                found[machine.id] = machine
        return found

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> MarketProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="A marketplace without idempotency.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path, required=True, help="journal of creates and destroys, JSON lines")
    args = parser.parse_args()
    asyncio.run(MarketServer(args.state).serve(args.port))


if __name__ == "__main__":
    main()
