"""Child processes of the agent. As the first process of its namespace the agent reaps everybody's orphans, so
it collects exit statuses itself instead of letting asyncio wait for single children.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

# The kernel should end a tenant's process, not the agent, when the machine's memory is used up. The agent is
# not dumpable, so only a process after its exec may write its own score.
_EXPENDABLE = ["/bin/sh", "-c", 'echo 500 >/proc/self/oom_score_adj; exec "$@"', "sh"]


class Children:
    """Starts processes and reports how each ended."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[int]] = {}

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to reap; call once, on the loop that starts the children."""
        loop.add_signal_handler(signal.SIGCHLD, self._reap)

    def start(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        stdin: int,
        stdout: int,
        stderr: int,
        terminal: bool = False,
    ) -> tuple[int, asyncio.Future[int]]:
        """Start a process in its own session; returns its pid and a future of its `waitpid` status."""
        process = subprocess.Popen(
            [*_EXPENDABLE, *argv],
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=_take_terminal if terminal else None,
        )
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[process.pid] = ended
        process.returncode = 0  # reaped below; keeps Popen from waiting for a pid that is no longer its own
        return process.pid, ended

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ended = self._waiting.pop(pid, None)
            if ended is not None and not ended.done():
                ended.set_result(status)

    def end_all(self, patience_s: float) -> None:
        """Ask every other process of this machine to end; kill what is left after `patience_s`."""
        deadline = time.monotonic() + patience_s
        signalled: set[int] = set()
        while pids := list(_others()):
            late = time.monotonic() > deadline
            for pid in pids if late else [pid for pid in pids if pid not in signalled]:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
            signalled.update(pids)
            if late and os.getpid() == 1:
                return  # the kernel ends the rest together with us
            time.sleep(0.01)
            self._reap()


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _others() -> Iterator[int]:
    """Living processes of this machine but for the agent: all of the namespace, or else our descendants."""
    me, parents = os.getpid(), dict(_parents())
    for pid in parents:
        ancestor = pid
        while me not in (1, ancestor) and ancestor in parents:
            ancestor = parents[ancestor]
        if pid != me and me in (1, ancestor):
            yield pid


def _parents() -> Iterator[tuple[int, int]]:
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
            if state != b"Z":
                yield int(name), int(parent)


def exit_reporter(exit_: Callable[[int], None], kill: Callable[[str], None]) -> Callable[[int], None]:
    """Hands a `waitpid` status on: to one an exit code, to the other a signal's name without "SIG"."""

    def report(status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            exit_(code)
        else:
            kill(signal.Signals(-code).name.removeprefix("SIG"))

    return report
