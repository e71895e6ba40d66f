"""The sandbox's file tree and namespaces, as a bwrap command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from controlplane.sandbox.runtime import HERE, Runtime
from controlplane.sandbox.spec import SandboxSpec

INFO_FD, SECCOMP_FD = 10, 11
STAGE = "/mnt"  # covered in the launcher's private mount namespace only; exists on every host
_SYSTEM_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_SYSTEM_ETC = ("alternatives", "ca-certificates", "ld.so.cache", "localtime", "os-release", "ssl/certs", "terminfo")
_OWN_ETC = ("group", "hosts", "nsswitch.conf", "passwd", "profile")
_TMP_SHARE = 4  # without a disk image, /tmp gets this part of the disk beside the home folder


def sources(runtime: Runtime) -> dict[str, str]:
    """What the sandbox shows beside the system: path inside -> path on the host."""
    return {**runtime.binds, **{f"/etc/{name}": str(HERE / "etc" / name) for name in _OWN_ETC}}


def bwrap_argv(
    bwrap: str,
    spec: SandboxSpec,
    runtime: Runtime,
    command: Sequence[str],
    *,
    staged: bool,
    disk: bool,
    can_lock_userns: bool,
    seccomp: bool,
) -> list[str]:
    """The whole command. `staged`: the launcher has gathered the sources under STAGE; `disk`: and the
    machine's disk.
    """
    argv = [bwrap, "--unshare-all", "--unshare-user", "--as-pid-1", "--uid", "0", "--gid", "0"]
    argv += ["--hostname", spec.label, "--clearenv", "--info-fd", str(INFO_FD)]
    if can_lock_userns:
        argv.append("--disable-userns")  # a nested namespace would give capabilities over kernel interfaces
    if seccomp:
        argv += ["--seccomp", str(SECCOMP_FD)]
    argv += _system()
    for inside, outside in sources(runtime).items():
        argv += ["--ro-bind", f"{STAGE}{inside}" if staged else outside, inside]
    for path in runtime.masks:
        argv += ["--tmpfs", path, "--remount-ro", path]
    argv += _devices(spec.devices, spec.bounds.memory_mb)
    argv += _disk(spec.bounds.disk_mb) if not disk else _bound_disk()
    argv += ["--size", str(8 << 20), "--tmpfs", "/run", "--remount-ro", "/", "--chdir", "/root"]
    for name, value in runtime.env.items():
        argv += ["--setenv", name, value]
    return [*argv, "--", *command]


def _system() -> list[str]:
    argv = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM_LINKS:
        path = Path("/", name)
        if path.is_symlink():
            argv += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            argv += ["--ro-bind", str(path), str(path)]
    # Given modes, because bwrap makes missing parents for its own user only.
    for folder in ("/etc", "/etc/ssl", "/opt", "/opt/gpuplane", "/var", "/var/log"):
        argv += ["--perms", "0755", "--dir", folder]
    for name in _SYSTEM_ETC:
        argv += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return [*argv, "--proc", "/proc"]


def _devices(devices: Sequence[str], memory_mb: int) -> list[str]:
    argv = ["--dev", "/dev", "--perms", "1777", "--size", str((memory_mb << 20) // 2), "--tmpfs", "/dev/shm"]
    for device in devices:
        argv += ["--dev-bind", device, device]
    return [*argv, "--remount-ro", "/dev"]


def _bound_disk() -> list[str]:
    disk = f"{STAGE}/disk"
    argv = ["--bind", f"{disk}/home", "/root"]
    for path in ("/tmp", "/var/tmp"):
        argv += ["--bind", f"{disk}/tmp", path]
    return argv


def _disk(disk_mb: int) -> list[str]:
    tmp = disk_mb // _TMP_SHARE
    argv = ["--perms", "0700", "--size", str((disk_mb - tmp) << 20), "--tmpfs", "/root"]
    return [
        *argv,
        "--perms",
        "1777",
        "--size",
        str(tmp << 20),
        "--tmpfs",
        "/tmp",
        "--symlink",
        "../tmp",
        "/var/tmp",
    ]


def session_env(spec: SandboxSpec, home: str, mark: Mapping[str, str]) -> dict[str, str]:
    """The environment of everything a tenant starts."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    base = {
        "HOME": home,
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": "/bin/bash",
        "PATH": path,
        "LANG": "C.UTF-8",
    }
    return {**base, **spec.env, **mark}
