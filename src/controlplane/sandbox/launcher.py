"""The first process of a machine, before its sandbox: `python -I -S launcher.py --plane TAG --label LABEL`.

Run by path with nothing but the standard library. It waits at the gate until the control plane has recorded
it; if the control plane dies first, the gate reads end of file and nothing was touched. Then it bounds
itself, builds the machine's disk in a private mount namespace (so that disk, mount and loop device go when
the last process goes), gives up root and becomes the sandbox.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import stat
import sys
from typing import Any

# Descriptors agreed with spawn.py; those below PLAN_FD stay open into the sandbox.
PLAN_FD, GATE_FD, STATUS_FD = 7, 8, 9
_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 1 << 18
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9
_OOM_SCORE = "100"  # before the control plane, after the tenant's processes
_libc = ctypes.CDLL(None, use_errno=True)


class _Failed(Exception):
    """Preparation failed; the text goes to the control plane."""


def main() -> None:
    """Prepare and become the sandbox; on failure say why on the status pipe."""
    os.umask(0o022)
    if os.read(GATE_FD, 1) != b"g":
        sys.exit("the control plane went away before the machine was recorded")
    try:
        with os.fdopen(PLAN_FD, "rb") as file:
            plan: dict[str, Any] = json.load(file)
        os.set_inheritable(STATUS_FD, False)
        os.close(GATE_FD)
        os.closerange(STATUS_FD + 1, os.sysconf("SC_OPEN_MAX"))
        _prepare(plan)
        os.write(STATUS_FD, b"prepared\n")
        os.execv(plan["argv"][0], plan["argv"])
    except Exception as error:
        os.write(STATUS_FD, f"failed {type(error).__name__}: {error}\n".encode())
        sys.exit(1)


def _prepare(plan: dict[str, Any]) -> None:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(_OOM_SCORE)  # ours may be a service's that the kernel should never kill
    for group in plan["cgroups"]:
        _enter(group["path"], group["files"])
    if plan["cpus"]:
        os.sched_setaffinity(0, plan["cpus"])
    if plan["info"]:
        _open_info(plan["info"])
    if plan["seccomp"]:
        _open_filter(plan["seccomp"])
    uid = plan["uid"]
    if uid is None:
        return
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    _stage(plan["stage"], plan["sources"], plan["disk"], uid)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _enter(path: str, files: dict[str, str]) -> None:
    """Make the control group, set its bounds, go in."""
    os.makedirs(path, exist_ok=True)
    for name, value in {**files, "cgroup.procs": str(os.getpid())}.items():
        with open(os.path.join(path, name), "w") as file:
            file.write(value)


def _open_info(info: dict[str, Any]) -> None:
    """Where bwrap writes the pid of the sandbox's first process; opened while we still may."""
    fd = os.open(info["path"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(fd, info["fd"], inheritable=True)
    os.close(fd)


def _open_filter(seccomp: dict[str, Any]) -> None:
    """The system call filter, where bwrap will read it."""
    fd = os.memfd_create("seccomp")
    os.write(fd, bytes.fromhex(seccomp["program"]))
    os.lseek(fd, 0, os.SEEK_SET)
    os.dup2(fd, seccomp["fd"], inheritable=True)
    os.close(fd)


def _stage(stage: str, sources: dict[str, str], disk: dict[str, Any] | None, uid: int) -> None:
    """Gather what the sandbox shows at a place that the machine's uid can reach.

    Interpreter and state folder may lie under a home that only root may enter. Sources are held open first
    because the stage may cover some of them.
    """
    held = {name: os.open(path, os.O_PATH | os.O_CLOEXEC) for name, path in sources.items()}
    folder = os.open(os.path.dirname(disk["image"]), os.O_PATH | os.O_CLOEXEC) if disk else -1
    _mount("stage", stage, "tmpfs", 0, "mode=0755,size=1m")
    for name, fd in held.items():
        target = os.path.join(stage, name)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o644))
        _mount(f"/proc/self/fd/{fd}", target, None, _MS_BIND | _MS_REC)
        os.close(fd)
    if disk is not None:
        _mount_disk(f"/proc/{os.getpid()}/fd/{folder}", stage, disk, uid)
        os.close(folder)


def _mount_disk(folder: str, stage: str, disk: dict[str, Any], uid: int) -> None:
    image = os.path.join(folder, os.path.basename(disk["image"]))
    fd = os.open(image, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.ftruncate(fd, disk["mb"] << 20)
    os.close(fd)
    # The default inode ratio and reserved blocks suit a small home directory; tables are filled in lazily.
    extended = f"lazy_itable_init=1,nodiscard,root_owner={uid}:{uid}"
    _run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-m", "0", "-E", extended, image])
    target = os.path.join(stage, "disk")
    os.makedirs(target)
    _run(["mount", "-t", "ext4", "-o", "loop,nosuid,nodev", image, target])
    for name, mode in (("home", 0o700), ("tmp", 0o1777)):
        path = os.path.join(target, name)
        os.mkdir(path)
        os.chown(path, uid, uid)
        os.chmod(path, mode)


def _run(argv: list[str]) -> None:
    """Run a helper that dies with us, so that no half-made disk outlives a kill."""
    output, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
            os.dup2(theirs, 1)
            os.dup2(theirs, 2)
            os.execvp(argv[0], argv)
        os._exit(127)
    os.close(theirs)
    with os.fdopen(output, "rb") as file:
        said = file.read().decode("utf-8", "replace").strip()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != 0:
        raise _Failed(f"{argv[0]} ended with {code}: {said[-300:]}")


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    args = [None if text is None else text.encode() for text in (source, target, kind)]
    _check(_libc.mount(*args, ctypes.c_ulong(flags), None if data is None else data.encode()), f"mount {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise _Failed(f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
