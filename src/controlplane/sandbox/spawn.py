"""Starting a launcher: descriptors in their places, nothing else inherited, held at a gate until recorded."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.sandbox.spec import SandboxError

# Places agreed with launcher.py and agent/main.py.
CONFIG_FD, SSH_FD, CONTROL_FD, SERVICE_FD, PLAN_FD, GATE_FD, STATUS_FD = range(3, 10)
_CLEAR_OF_PLACES = 64
_LAUNCHER = Path(__file__).parent / "launcher.py"


@dataclass(frozen=True, slots=True)
class Launcher:
    """A launcher waiting at its gate."""

    pid: int
    gate: int
    status: int

    def open_gate(self) -> None:
        """Let it go on; from here on the machine exists."""
        os.write(self.gate, b"g")

    def wait_prepared(self, timeout_s: float) -> None:
        """Return once the launcher has become the sandbox; raises SandboxError with its words when it could
        not.
        """
        deadline, said = time.monotonic() + timeout_s, b""
        while True:
            ready, _, _ = select.select([self.status], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise SandboxError(f"the sandbox was not prepared within {timeout_s:.0f} s")
            data = os.read(self.status, 4096)
            if not data:
                break
            said += data
        lines = said.decode("utf-8", "replace").splitlines()
        if lines != ["prepared"]:
            raise SandboxError(lines[-1].removeprefix("failed ") if lines else "the launcher was killed")

    def close(self) -> None:
        """Give the pipes back; a launcher still at its gate goes away."""
        os.close(self.gate)
        os.close(self.status)


def spawn(
    arguments: list[str],
    plan: Mapping[str, Any],
    config: Mapping[str, Any],
    sockets: Mapping[int, socket.socket],
    log: Path,
) -> Launcher:
    """Start a launcher. `sockets` are listening ones by place; the caller closes its own copies."""
    with contextlib.ExitStack() as stack:
        gate_read, gate = os.pipe()
        status, status_write = os.pipe()
        stack.callback(os.close, gate_read)
        stack.callback(os.close, status_write)
        # Secrets are in the configuration, so it never gets a name in any file system.
        places = {
            CONFIG_FD: stack.enter_context(_memory_file("config", config)),
            PLAN_FD: stack.enter_context(_memory_file("plan", plan)),
            GATE_FD: gate_read,
            STATUS_FD: status_write,
            **{place: sock.fileno() for place, sock in sockets.items()},
        }
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, output)
        try:
            pid = _spawn(arguments, places, output, stack)
        except BaseException:
            os.close(gate)
            os.close(status)
            raise
    return Launcher(pid, gate, status)


def _spawn(arguments: list[str], places: Mapping[int, int], output: int, stack: contextlib.ExitStack) -> int:
    actions: list[tuple[Any, ...]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, output, 2),
    ]
    for place, fd in places.items():
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _CLEAR_OF_PLACES)
        stack.callback(os.close, high)
        actions.append((os.POSIX_SPAWN_DUP2, high, place))
    # The whole environment stays behind: it may hold credentials.
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", str(_LAUNCHER), *arguments],
        {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        file_actions=actions,
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXFSZ],
    )


@contextlib.contextmanager
def _memory_file(name: str, data: Mapping[str, Any]) -> Iterator[int]:
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        content = json.dumps(data).encode()
        while content:
            content = content[os.write(fd, content) :]
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)
