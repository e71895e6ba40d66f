"""Finding machines' processes on the host, without being fooled by what runs inside machines."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import defaultdict
from pathlib import Path

from controlplane.sandbox.names import machine_uid

MARK = "GPUPLANE_MACHINE"  # environment of everything in an unsandboxed machine


def boot_id() -> str:
    """Names this boot of the host: pids mean nothing across it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> int | None:
    """When a process started: names it for good with its pid and boot; None when dead or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def arguments(tag: str, label: str) -> list[str]:
    """The arguments that every process we start for a machine carries."""
    return ["--plane", tag, "--label", label]


def scan(tag: str) -> dict[str, set[int]]:
    """Processes of a plane's machines by label: launchers, sandbox monitors and agents."""
    marker = "\0".join(["", *arguments(tag, "")]).encode()
    found: dict[str, set[int]] = defaultdict(set)
    for pid in _pids():
        with contextlib.suppress(OSError):
            _, marked, rest = Path(f"/proc/{pid}/cmdline").read_bytes().partition(marker)
            label = rest.split(b"\0")[0].decode("ascii", "replace")
            if marked and _is_ours(pid, machine_uid(tag, label)):
                found[label].add(pid)
    return found


def is_machine(pid: int, tag: str, label: str) -> bool:
    """Whether a living process belongs to that machine's frame."""
    marker = "\0".join(["", *arguments(tag, label), ""]).encode()
    with contextlib.suppress(OSError):
        cmdline = Path(f"/proc/{pid}/cmdline").read_bytes()
        return marker in cmdline and _is_ours(pid, machine_uid(tag, label))
    return False


def marked(tag: str, label: str) -> set[int]:
    """All processes that inherited an unsandboxed machine's environment."""
    entry = f"{MARK}={tag}/{label}".encode()
    found = set()
    for pid in _pids():
        with contextlib.suppress(OSError):
            if entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(pid)
    return found


def send(pids: set[int], number: signal.Signals) -> None:
    """Signal processes that were just seen."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def reap(pid: int) -> bool:
    """Collect a child of ours if it has ended; true when it is no child of ours any more."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def cpu_ns(root_pid: int) -> int:
    """Processor time of a process and all below it, ended and reaped ones included."""
    times: dict[int, tuple[int, int]] = {}
    for pid in _pids():
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            times[pid] = (int(fields[1]), sum(int(field) for field in fields[11:15]))
    tree, grown = {root_pid}, True
    while grown:
        below = {pid for pid, (parent, _) in times.items() if parent in tree}
        grown = not below <= tree
        tree |= below
    ticks = sum(times[pid][1] for pid in tree if pid in times)
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _is_ours(pid: int, uid: int) -> bool:
    """A tenant can fake a command line, but is neither in the host's pid namespace nor first in its own."""
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    if status["State"].startswith(("Z", "X")):
        return False
    inner = status.get("NSpid", "0").split()[1:]
    return int(status["Uid"].split()[0]) in (os.geteuid(), uid) and inner in ([], ["1"])
