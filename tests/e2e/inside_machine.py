"""Runs inside a machine and tries what a tenant must not be able to do; prints what held as JSON.

Standard library only; takes facts about the host as one JSON argument.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FACTS: dict[str, Any] = json.loads(sys.argv[1])
LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH, SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 16, 434, 438
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000
SYSLOG_READ_ALL = 3
AF_ALG, AF_VSOCK = 38, 40


def fails(action: Callable[[], Any]) -> bool:
    try:
        action()
    except OSError:
        return True
    return False


def call_fails(name: str, *args: Any) -> bool:
    return bool(getattr(LIBC, name)(*args) == -1)


def status(name: str) -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split(":\t")[1].strip() for line in lines if line.startswith(f"{name}:"))


def connects(family: int, address: Any) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(1)
        sock.connect(address)


def pidfd_getfd() -> bool:
    pidfd = LIBC.syscall(SYS_PIDFD_OPEN, 1, 0)
    return all(LIBC.syscall(SYS_PIDFD_GETFD, pidfd, fd, 0) == -1 for fd in range(3, 12))


def symlink_leads_nowhere() -> bool:
    Path("/root/link").symlink_to("/etc/shadow")
    return fails(Path("/root/link").read_text)


def command_lines() -> str:
    return " ".join(path.read_text(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline"))


def cannot_write(path: str) -> bool:
    return fails(lambda: Path(path, "x").write_text("x"))


def cannot_list(path: str) -> bool:
    return fails(lambda: os.listdir(path))


def disk_devices() -> list[str]:
    return [name for name in os.listdir("/dev") if name.startswith(("loop", "vd", "sd", "nvme", "mem", "kmsg", "fuse"))]


def checks() -> dict[str, bool]:
    found = {f"no path {path}": not Path(path).exists() for path in FACTS["paths"]}
    found |= {f"cannot write {path}": cannot_write(path) for path in (
        "/", "/usr", "/usr/bin", "/etc", "/opt", "/opt/gpuplane/lib", "/dev", "/var", "/proc/sys/kernel",
    )}  # fmt: skip
    found |= {
        f"{name} is empty": int(status(name), 16) == 0 for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")
    }
    found |= {f"{path} is closed": cannot_list(path) for path in ("/proc/1/root/", "/proc/1/cwd/")}
    found |= {
        f"the agent's {path} is closed": fails(path.readlink) and fails(path.read_bytes)
        for path in Path("/proc/1/fd").iterdir()
    }
    found |= {
        f"{path} is closed": fails(Path(path).read_bytes)
        for path in ("/proc/1/mem", "/proc/1/environ", "/proc/1/maps", "/proc/kcore")
    }
    return found | {
        "root inside": os.getuid() == 0,
        "no new privileges": status("NoNewPrivs") == "1",
        "own process list": "987654" not in command_lines() and len(list(Path("/proc").glob("[0-9]*"))) < 10,
        "host process cannot be signalled": fails(lambda: os.kill(FACTS["pid"], signal.SIGTERM)),
        "only the loopback interface": [name for _, name in socket.if_nameindex()] == ["lo"],
        "host loopback": fails(lambda: connects(socket.AF_INET, ("127.0.0.1", FACTS["port"]))),
        "outside network": fails(lambda: connects(socket.AF_INET, ("1.1.1.1", 53))),
        "abstract unix socket": fails(lambda: connects(socket.AF_UNIX, "\0" + FACTS["abstract"])),
        "hypervisor socket": fails(lambda: socket.socket(AF_VSOCK, socket.SOCK_STREAM)),
        "kernel crypto socket": fails(lambda: socket.socket(AF_ALG, socket.SOCK_SEQPACKET)),
        "symlink to the host": symlink_leads_nowhere(),
        "no disks or memory devices": disk_devices() == [],
        "mknod": fails(lambda: os.mknod("/root/disk", 0o060600, os.makedev(7, 0))),
        "mount": call_fails("mount", b"none", b"/root", b"tmpfs", 0, None),
        "umount": call_fails("umount2", b"/proc", 2),
        "new user namespace": call_fails("unshare", CLONE_NEWUSER),
        "new mount namespace": call_fails("unshare", CLONE_NEWNS),
        "chroot": fails(lambda: os.chroot("/root")),
        "become another user": fails(lambda: os.setuid(1)) and fails(lambda: os.setgid(1)),
        "host name": call_fails("sethostname", b"x", 1),
        "trace the agent": call_fails("ptrace", PTRACE_ATTACH, 1, None, None),
        "take the agent's sockets": pidfd_getfd(),
        "kernel log": call_fails("klogctl", SYSLOG_READ_ALL, ctypes.create_string_buffer(64), 64),
        "sysrq": fails(lambda: Path("/proc/sysrq-trigger").write_text("h")),
        "raise own limits": fails(lambda: Path("/proc/1/oom_score_adj").write_text("-900")),
        "set-user-id programs": os.statvfs("/usr").f_flag & os.ST_NOSUID != 0,
        "other machines": not list(Path("/root").glob("private*")) + list(Path("/tmp").glob("private*")),
        "clock": call_fails("settimeofday", ctypes.create_string_buffer(16), None),
    }


print(json.dumps([{"what": what, "held": held} for what, held in checks().items()]))
