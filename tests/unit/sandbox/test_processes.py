"""Telling our processes from others, and the living from the dead."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from controlplane.sandbox import processes

SLEEP = "import time; time.sleep(60)"


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", SLEEP, *arguments])
    deadline = time.monotonic() + 5
    while SLEEP.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline
    return process


def test_scan_finds_by_plane_and_label() -> None:
    ours = _start(*processes.arguments("tag-of-test", "gp-d-i-1"), "more")
    other = _start(*processes.arguments("tag-of-others", "gp-d-i-1"))
    try:
        assert processes.scan("tag-of-test") == {"gp-d-i-1": {ours.pid}}
        assert processes.is_machine(ours.pid, "tag-of-test", "gp-d-i-1")
        assert not processes.is_machine(ours.pid, "tag-of-test", "gp-d-i-10")
        assert not processes.is_machine(other.pid, "tag-of-test", "gp-d-i-1")
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()
    assert processes.scan("tag-of-test") == {}


def test_zombies_are_dead() -> None:
    process, living = _start(*processes.arguments("tag-of-zombie", "gp-d-i-1")), _start()
    started = processes.start_ticks(process.pid)
    assert started is not None
    assert processes.start_ticks(process.pid) == started
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert processes.start_ticks(process.pid) is None
    assert processes.scan("tag-of-zombie") == {}
    assert processes.reap(process.pid)
    assert processes.reap(process.pid), "no longer ours"
    assert not processes.reap(living.pid)
    process.returncode = -9
    living.kill()
    living.wait()


def test_processor_time_counts_children() -> None:
    before = processes.cpu_ns(os.getpid())
    subprocess.run([sys.executable, "-I", "-S", "-c", "sum(range(20_000_000))"], check=True)
    assert processes.cpu_ns(os.getpid()) - before > 50_000_000
