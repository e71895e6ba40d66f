"""What this host can do for sandboxes, found by trying."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from controlplane.sandbox import cgroups, seccomp

_INSTALL_BWRAP = "bubblewrap is not installed: apt-get install bubblewrap"
_TRIAL_TIMEOUT_S = 20
_NOBODY = "65534"

Report = list[tuple[str, bool, str]]  # what was looked at, whether it is there, a remark


@dataclass
class Host:
    """Abilities of this host; each is tried once, at first use. Blocking: use from a thread."""

    root: bool = field(default_factory=lambda: os.geteuid() == 0)

    @cached_property
    def bwrap(self) -> str:
        """Path of bubblewrap, or empty."""
        return shutil.which("bwrap") or ""

    @cached_property
    def can_lock_userns(self) -> bool:
        """Whether this bubblewrap can forbid further user namespaces inside (0.8 and later)."""
        said = subprocess.run([self.bwrap, "--help"], capture_output=True, text=True, timeout=_TRIAL_TIMEOUT_S)
        return "--disable-userns" in said.stdout

    @cached_property
    def refusal(self) -> str:
        """Why no sandbox can be built here; empty when one can."""
        if not self.bwrap:
            return _INSTALL_BWRAP
        if self.root and (reason := _try_mount_namespace()):
            return reason
        argv = [self.bwrap, "--unshare-all", "--unshare-user", "--uid", "0", "--gid", "0", "--proc", "/proc"]
        argv += ["--dev", "/dev", "--ro-bind", "/usr", "/usr", *_links(), "--", os.path.realpath("/bin/true")]
        if self.root:  # try it as a machine would do it
            argv = ["setpriv", "--reuid", _NOBODY, "--regid", _NOBODY, "--clear-groups", "--", *argv]
        try:
            tried = subprocess.run(argv, capture_output=True, text=True, timeout=_TRIAL_TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as error:
            return f"bubblewrap cannot be run: {error}"
        said = tried.stderr.strip()[-300:]
        return f"bubblewrap cannot build a sandbox: {said}" if tried.returncode else ""

    @cached_property
    def disk_refusal(self) -> str:
        """Why machines get a memory-backed disk; empty when they get an image on a loop device."""
        if not self.root:
            return "disk images need root"
        missing = [tool for tool in ("mkfs.ext4", "mount") if not shutil.which(tool)]
        if missing:
            return f"not installed: {', '.join(missing)} (apt-get install e2fsprogs mount)"
        return _try_loop_mount()

    @cached_property
    def cgroups(self) -> cgroups.Cgroups:
        """Control groups we may make."""
        return cgroups.find()

    def report(self) -> Report:
        """For people: what was tried, whether it is there, and what its absence means."""
        groups = self.cgroups
        weak = {
            "sandbox": self.refusal,
            "own uid per machine": "" if self.root else "needs root; machines run as this user",
            "nested user namespaces closed": "" if self._locks_userns() else "needs bubblewrap 0.8",
            "system call filter": "" if seccomp.program() else f"not written for {platform.machine()}",
            "disk bound": self.disk_refusal and f"tmpfs, in memory: {self.disk_refusal}",
            "memory bound": "" if "memory" in groups.parents else f"of each process only: {groups.reason}",
            "process bound": "" if "pids" in groups.parents else f"by RLIMIT_NPROC: {groups.reason}",
            "processor bound": ""
            if "cpu" in groups.parents
            else f"by affinity, which a tenant can undo: {groups.reason}",
        }
        return [(what, not remark, remark) for what, remark in weak.items()]

    def _locks_userns(self) -> bool:
        return bool(self.bwrap) and self.can_lock_userns


def _links() -> list[str]:
    argv = []
    for path in map(Path, ("/bin", "/lib", "/lib64")):
        if path.is_symlink():
            argv += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            argv += ["--ro-bind", str(path), str(path)]
    return argv


def _try_mount_namespace() -> str:
    """Root gives machines other uids and so must gather their files first. Root of a machine is never our root."""
    missing = [tool for tool in ("setpriv", "unshare") if not shutil.which(tool)]
    if missing:
        return f"not installed: {', '.join(missing)} (apt-get install util-linux)"
    argv = ["unshare", "--mount", "--propagation", "private", "true"]
    if subprocess.run(argv, capture_output=True, timeout=_TRIAL_TIMEOUT_S).returncode == 0:
        return ""
    return "root may not mount here (a container without SYS_ADMIN?); run as an ordinary user instead"


def _try_loop_mount() -> str:
    with tempfile.TemporaryDirectory(prefix="gpuplane-trial-") as folder:
        image = Path(folder, "disk.img")
        with open(image, "wb") as file:
            file.truncate(4 << 20)
        # In a mount namespace of its own, so that nothing is left whatever happens.
        script = 'mkfs.ext4 -q -F "$1" && mount -o loop "$1" /mnt'
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(image)]
        try:
            tried = subprocess.run(argv, capture_output=True, text=True, timeout=_TRIAL_TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
        return "" if tried.returncode == 0 else f"loop devices do not work here: {tried.stderr.strip()[-200:]}"
