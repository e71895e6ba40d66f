"""The agent: the first process of a machine. It serves SSH on an inherited socket until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import resource
import signal
import socket
import sys
from typing import Any

import asyncssh

from .children import Children
from .journal import Journal
from .keys import PROBE_OPTION, Keys
from .relay import Service
from .sessions import ProbeSession, Session

CONFIG_FD, SSH_FD, CONTROL_FD, SERVICE_FD = 3, 4, 5, 6  # the launcher's promise
_LOOPBACK = {"localhost": "127.0.0.1", "127.0.0.1": "127.0.0.1", "::1": "::1"}
_PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 4, 36
_END_PATIENCE_S = 0.5
_WORD_PATIENCE_S = 10.0


class Agent:
    """State shared by all connections of one machine."""

    def __init__(self, config: dict[str, Any]) -> None:
        service = config.get("service")
        self.env: dict[str, str] = config["env"]
        self.sftp: list[str] = config["sftp"]
        self.children = Children()
        self.journal = Journal(1, secrets=(service["secret"],) if service else ())
        logging.getLogger().addHandler(self.journal)
        self.keys = Keys(config["probe_key"], config["authorized_keys"])
        self.sessions = 0
        self._host_key = asyncssh.import_private_key(config["host_key"])
        self._service = Service(service, self) if service else None
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def session_opened(self, what: str) -> None:
        """A tenant logged in."""
        self.sessions += 1
        self._idle.clear()
        self.journal.write(f"session opened: {what}")

    def session_closed(self, what: str) -> None:
        """A tenant's connection ended."""
        self.sessions -= 1
        self.journal.write(f"session closed: {what}")
        if self.sessions == 0:
            self._idle.set()

    async def run(self) -> None:
        """Serve until SIGTERM, then until the last tenant has left."""
        loop = asyncio.get_running_loop()
        self.children.watch(loop)
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        door = socket.socket(fileno=SSH_FD)
        await self._listen(door)
        control = await asyncio.start_unix_server(self._answer, sock=socket.socket(fileno=CONTROL_FD))
        if self._service is not None:
            await self._service.start(socket.socket(fileno=SERVICE_FD))
        self.journal.write("ready")
        await self._stopping.wait()
        self.journal.write(f"stopping; {self.sessions} session(s) open")
        # The socket is shared with processes outside; shutting it down refuses clients, closing would only
        # leave them waiting.
        with contextlib.suppress(OSError):
            door.shutdown(socket.SHUT_RDWR)
        await self._idle.wait()
        control.close()
        self.children.end_all(_END_PATIENCE_S)
        self.journal.write("stopped")

    async def _listen(self, door: socket.socket) -> None:
        await asyncssh.listen(
            sock=door.dup(),
            server_factory=lambda: Door(self),
            server_host_keys=[self._host_key],
            encoding=None,
            line_editor=False,
            password_auth=False,
            kbdint_auth=False,
            agent_forwarding=False,
            x11_forwarding=False,
            login_timeout=30,
            keepalive_interval=30,
            server_version="gpuplane",
        )

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The control plane's question has no words: whoever connects is told how things stand. It may then hand in a
        key, in a line of JSON."""
        writer.write(json.dumps({"sessions": self.sessions}).encode() + b"\n")
        with contextlib.suppress(OSError, TimeoutError, ValueError, KeyError, TypeError):  # nonsense gets no answer
            async with asyncio.timeout(_WORD_PATIENCE_S):
                word = await reader.readline()
            if word:
                self.keys.add(json.loads(word)["add_key"])
                self.journal.write("a key was added")
                writer.write(json.dumps({"added": True}).encode() + b"\n")
        writer.close()


class Door(asyncssh.SSHServer):
    """One connection: decides who comes in and what they may do."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._conn: Any = None
        self._tenant = ""
        self._probe = False

    def connection_made(self, conn: Any) -> None:
        self._conn = conn

    def begin_auth(self, username: str) -> bool:
        if username == "root":
            self._conn.set_authorized_keys(self._agent.keys.accepted)
        return True

    def auth_completed(self) -> None:
        self._probe = bool(self._conn.get_key_option(PROBE_OPTION))
        if not self._probe:
            peer = self._conn.get_extra_info("peername") or ("unknown", 0)
            self._tenant = f"{peer[0]} port {peer[1]}"
            self._agent.session_opened(self._tenant)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._tenant:
            self._agent.session_closed(self._tenant)

    def session_requested(self) -> Any:
        if self._probe:
            return ProbeSession()
        return Session(self._agent.children, self._agent.env, self._agent.sftp)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        address = _LOOPBACK.get(dest_host)
        if self._probe or address is None:
            return False
        return self._conn.forward_connection(address, dest_port)


def _read_config() -> dict[str, Any]:
    with os.fdopen(CONFIG_FD, "rb") as file:
        config: dict[str, Any] = json.load(file)
    return config


def _harden(limits: dict[str, int]) -> None:
    """Close the agent to the processes it will start, and bound them."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Tenants run under the same uid; without this they could take the sockets of the host's network from us.
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for fd in (SSH_FD, CONTROL_FD, SERVICE_FD):
        with contextlib.suppress(OSError):
            os.set_inheritable(fd, False)
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(kind)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))


def main() -> None:
    """Entry point; the arguments only name the machine for whoever looks at the host's process list."""
    config = _read_config()
    _harden(config["limits"])
    os.umask(0o022)
    os.chdir(config["env"]["HOME"])  # where every session starts
    asyncio.run(_run(config))
    sys.stdout.flush()
    os._exit(0)  # nothing that a tenant left open may hold the end up


async def _run(config: dict[str, Any]) -> None:
    await Agent(config).run()
