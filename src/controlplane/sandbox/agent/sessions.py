"""What a client gets on one SSH channel: a shell, a command or SFTP, with or without a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from typing import Any

import asyncssh

from .children import Children, exit_reporter

# Output still on its way when the leader of a terminal session ends is waited for; background jobs that keep
# the terminal open are not (the same as OpenSSH).
_TERMINAL_LINGER_S = 0.1
_SHELL = "/bin/bash" if os.access("/bin/bash", os.X_OK) else "/bin/sh"


class Session(asyncssh.SSHServerSession[bytes]):
    """One channel of a tenant."""

    def __init__(self, children: Children, env: dict[str, str], sftp: list[str]) -> None:
        self._children = children
        self._env = env
        self._sftp = sftp
        self._argv: list[str] = []
        self._chan: Any = None
        self._pid = 0
        self._master = -1
        self._stdin: asyncio.WriteTransport | None = None
        self._outputs: list[asyncio.ReadTransport] = []
        self._early: list[bytes | None] = []  # input that came before the process stood; None is end of file
        self._open_outputs = 0
        self._status: int | None = None
        self._lost = False

    def connection_made(self, chan: Any) -> None:
        self._chan = chan

    def pty_requested(self, *_args: Any) -> bool:
        return True

    def shell_requested(self) -> bool:
        self._argv = [_SHELL, "-l"]
        return True

    def exec_requested(self, command: str) -> bool:
        self._argv = [_SHELL, "-c", command]
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        self._argv = self._sftp
        return subsystem == "sftp"

    def session_started(self) -> None:
        env = {**self._env, **_text(self._chan.get_environment())}
        try:
            if self._chan.get_terminal_type() is None:
                self._start_on_pipes(env)
            else:
                env["TERM"] = self._chan.get_terminal_type()
                self._start_on_terminal(env)
        except (OSError, subprocess.SubprocessError) as error:
            self._chan.write_stderr(f"cannot start: {error}\n".encode())
            self._chan.exit(126)

    def _start_on_pipes(self, env: dict[str, str]) -> None:
        pipes = [os.pipe() for _ in range(3)]
        try:
            self._started(
                self._children.start(self._argv, env, stdin=pipes[0][0], stdout=pipes[1][1], stderr=pipes[2][1])
            )
        except (OSError, subprocess.SubprocessError):
            _close(pipes[0][1], pipes[1][0], pipes[2][0])
            raise
        finally:
            _close(pipes[0][0], pipes[1][1], pipes[2][1])
        self._attach(pipes[0][1], {pipes[1][0]: self._chan.write, pipes[2][0]: self._chan.write_stderr})

    def _start_on_terminal(self, env: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        try:
            self._set_size(*self._chan.get_terminal_size())
            self._started(self._children.start(self._argv, env, stdin=slave, stdout=slave, stderr=slave, terminal=True))
        except (OSError, subprocess.SubprocessError):
            _close(self._master)
            raise
        finally:
            _close(slave)
        self._attach(os.dup(self._master), {self._master: self._chan.write})

    def _started(self, process: tuple[int, asyncio.Future[int]]) -> None:
        self._pid, ended = process
        ended.add_done_callback(lambda future: self._process_ended(future.result()))

    def _attach(self, stdin: int, outputs: dict[int, Callable[[bytes], None]]) -> None:
        self._open_outputs = len(outputs)
        self._chan.get_connection().create_task(self._connect(stdin, outputs))

    async def _connect(self, stdin: int, outputs: dict[int, Callable[[bytes], None]]) -> None:
        loop = asyncio.get_running_loop()
        for fd, write in outputs.items():
            reader, _ = await loop.connect_read_pipe(
                functools.partial(_Output, write, self._output_ended), os.fdopen(fd, "rb", 0)
            )
            self._outputs.append(reader)
        self._stdin, _ = await loop.connect_write_pipe(lambda: _Input(self._chan), os.fdopen(stdin, "wb", 0))
        for data in self._early:
            self._feed(data)
        if self._lost:
            self._hang_up()

    def data_received(self, data: bytes, datatype: Any) -> None:
        self._feed(data)

    def eof_received(self) -> bool:
        self._feed(None)
        return True  # the output side stays open

    def _feed(self, data: bytes | None) -> None:
        if self._stdin is None:
            self._early.append(data)
        elif data is not None:
            self._stdin.write(data)
        elif self._master >= 0:
            self._stdin.write(b"\x04")  # a terminal's end of file is a character
        else:
            self._stdin.close()

    def pause_writing(self) -> None:
        for reader in self._outputs:
            reader.pause_reading()

    def resume_writing(self) -> None:
        for reader in self._outputs:
            reader.resume_reading()

    def signal_received(self, signal_: str) -> None:
        number = getattr(signal, f"SIG{signal_}", None)
        if self._pid and self._status is None and number is not None:
            with contextlib.suppress(OSError):
                os.killpg(self._pid, number)

    def break_received(self, msec: int) -> bool:
        self.signal_received("INT")
        return True

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        if self._master >= 0 and self._outputs:
            self._set_size(width, height, pixwidth, pixheight)

    def _set_size(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        size = struct.pack("HHHH", height & 0xFFFF, width & 0xFFFF, pixwidth & 0xFFFF, pixheight & 0xFFFF)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def _output_ended(self) -> None:
        self._open_outputs -= 1
        self._finish()

    def _process_ended(self, status: int) -> None:
        self._status = status
        if self._master >= 0 and self._open_outputs:
            asyncio.get_running_loop().call_later(_TERMINAL_LINGER_S, self._hang_up)
        self._finish()

    def _finish(self) -> None:
        if self._status is None or self._open_outputs > 0 or self._chan.is_closing():
            return
        exit_reporter(self._chan.exit, lambda name: self._chan.exit_with_signal(name))(self._status)

    def _hang_up(self) -> None:
        for transport in [*self._outputs, self._stdin]:
            if transport is not None:
                transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._hang_up()


class ProbeSession(asyncssh.SSHServerSession[bytes]):
    """The control plane's own look: whatever is asked for, the answer is one word."""

    def connection_made(self, chan: Any) -> None:
        self._chan = chan

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        return True

    def session_started(self) -> None:
        self._chan.write(b"ok\n")
        self._chan.exit(0)


class _Output(asyncio.Protocol):
    """Moves a process's output onto the channel."""

    def __init__(self, write: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self._write = write
        self._ended = ended

    def data_received(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended()


class _Input(asyncio.BaseProtocol):
    """Holds the client back while the process does not read."""

    def __init__(self, chan: Any) -> None:
        self._chan = chan

    def pause_writing(self) -> None:
        self._chan.pause_reading()

    def resume_writing(self) -> None:
        # Later, not within the transport's own write: an end of file that follows at once would close the
        # transport there, and it would drop what it has not written yet.
        asyncio.get_running_loop().call_soon(self._chan.resume_reading)


def _text(environment: Any) -> dict[str, str]:
    pairs = dict(environment).items()
    return {_decode(key): _decode(value) for key, value in pairs if b"\0" not in _encode(key) + _encode(value)}


def _decode(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _encode(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "replace")


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)
