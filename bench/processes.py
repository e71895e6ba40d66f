"""Processes of a bench run: started in groups, pinned to cores, their CPU time read from /proc."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".bench"
SERVER_CORE, LOAD_CORE = 0, 1
_TICK = os.sysconf("SC_CLK_TCK")


def cpu_s(pids: Iterable[int]) -> float:
    """User and system time of processes, with all their threads and ended children, in seconds."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(fields[n]) for n in (11, 12, 13, 14))
    return total / _TICK


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def pin(pids: Iterable[int], cores: Sequence[int] = (0, 1)) -> None:
    """Bind processes, with all their threads, to cores."""
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cores)


@contextlib.contextmanager
def running(argv: Sequence[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own group; it is ended, and killed when it does not end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            argv, cwd=ROOT, env=os.environ | environment, stdout=sink, stderr=sink, process_group=0
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def python(module: str, *arguments: str) -> list[str]:
    """The command line of one of our modules."""
    return [sys.executable, "-m", module, *arguments]


def until(test: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for something, or fail saying for what."""
    deadline = time.monotonic() + seconds
    while not test():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.05)


def loadgen(*arguments: str, cores: Sequence[int] = (LOAD_CORE,)) -> dict[str, object]:
    """Run the Go load generator (built on demand) and return what it measured."""
    program = WORK / "loadgen"
    sources = list((ROOT / "bench/loadgen").iterdir())
    if not program.exists() or program.stat().st_mtime < max(file.stat().st_mtime for file in sources):
        WORK.mkdir(exist_ok=True)
        subprocess.run(["go", "build", "-o", str(program), "."], cwd=ROOT / "bench/loadgen", check=True)
    bound = ["taskset", "-c", ",".join(map(str, cores)), str(program), *arguments]
    done = subprocess.run(bound, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"loadgen {arguments[0]}: {done.stderr.strip()[:500]}")
    result: dict[str, object] = json.loads(done.stdout)
    return result


def chart() -> None:
    """Draw docs/performance.png in the environment that has matplotlib."""
    subprocess.run([str(WORK / "venv/bin/python"), str(ROOT / "bench/chart.py")], check=True)
