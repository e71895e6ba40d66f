"""Control groups, version 1 and 2: bounds of one machine, what it used, and their removal.

Groups are named after the machine, so that they can be found again without any record.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from controlplane.sandbox.spec import Bounds

PARENT = "gpuplane"
_PERIOD_US = 100_000
_V1_CONTROLLERS = ("cpu", "cpuacct", "memory", "pids")
_V2_CONTROLLERS = ("cpu", "memory", "pids")


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Where this host lets us make groups: controller name -> directory that holds machines' groups.

    Under version 2 all controllers share one directory. Empty where nothing is writable; `reason` then says
    why.
    """

    version: int
    parents: dict[str, Path]
    reason: str = ""

    def plan(self, name: str, bounds: Bounds) -> list[dict[str, object]]:
        """Directories to make and files to write before a process enters."""
        wanted: dict[Path, dict[str, str]] = {}
        for controller, parent in self.parents.items():
            files = _v1_files(controller, bounds) if self.version == 1 else _v2_files(controller, bounds)
            group = parent / name
            wanted.setdefault(group, {}).update({k: v for k, v in files.items() if _accepts(parent, k)})
        return [{"path": str(path), "files": files} for path, files in wanted.items()]

    def groups(self, name: str) -> list[Path]:
        """The machine's directories that exist."""
        return [path for path in sorted({p / name for p in self.parents.values()}) if path.is_dir()]

    def pids(self, name: str) -> set[int]:
        """Processes in the machine's groups."""
        found: set[int] = set()
        for group in self.groups(name):
            with contextlib.suppress(OSError):
                found.update(int(line) for line in (group / "cgroup.procs").read_text().split())
        return found

    def cpu_ns(self, name: str) -> int | None:
        """Processor time used by the machine so far."""
        parent = self.parents.get("cpuacct" if self.version == 1 else "cpu")
        if parent is None:
            return None
        with contextlib.suppress(OSError, ValueError, StopIteration):
            if self.version == 1:
                return int((parent / name / "cpuacct.usage").read_text())
            lines = (parent / name / "cpu.stat").read_text().splitlines()
            return 1000 * int(next(line.split()[1] for line in lines if line.startswith("usage_usec ")))
        return None

    def remove(self, name: str) -> bool:
        """Remove the machine's groups; false while the kernel still holds one."""
        for group in self.groups(name):
            with contextlib.suppress(FileNotFoundError):
                try:
                    group.rmdir()
                except OSError:
                    return False
        return True


def find(root: Path = Path("/sys/fs/cgroup"), *, privileged: bool | None = None) -> Cgroups:
    """See what is writable. Only root makes groups: a delegated subtree ends with its owner's session."""
    privileged = os.geteuid() == 0 if privileged is None else privileged
    if not privileged:
        return Cgroups(0, {}, "control groups need root")
    if (root / "cgroup.controllers").exists():
        return _find_v2(root)
    parents = {}
    for controller in _V1_CONTROLLERS:
        with contextlib.suppress(OSError):
            parents[controller] = _make_parent(root / controller)
    return Cgroups(1, parents, _missing(_V1_CONTROLLERS, parents))


def _find_v2(root: Path) -> Cgroups:
    try:
        parent = _make_parent(root, check="cgroup.controllers")
    except OSError as error:
        return Cgroups(2, {}, f"control groups are not writable ({error.strerror})")
    for folder in (root, parent):
        for controller in _V2_CONTROLLERS:
            with contextlib.suppress(OSError):
                (folder / "cgroup.subtree_control").write_text(f"+{controller}")
    try:
        enabled = (parent / "cgroup.subtree_control").read_text().split()
    except OSError:
        enabled = []
    parents = {controller: parent for controller in _V2_CONTROLLERS if controller in enabled}
    return Cgroups(2, parents, _missing(_V2_CONTROLLERS, parents))


def _make_parent(folder: Path, check: str = "cgroup.procs") -> Path:
    parent = folder / PARENT
    parent.mkdir(exist_ok=True)
    if not (parent / check).exists():
        parent.rmdir()
        raise OSError(f"{folder} is not a control group file system")
    return parent


def _missing(wanted: tuple[str, ...], parents: dict[str, Path]) -> str:
    absent = [controller for controller in wanted if controller not in parents]
    return f"control group controllers not available: {', '.join(absent)}" if absent else ""


def _v1_files(controller: str, bounds: Bounds) -> dict[str, str]:
    memory = str(bounds.memory_mb << 20)
    return {
        "cpu": {
            "cpu.cfs_period_us": str(_PERIOD_US),
            "cpu.cfs_quota_us": str(bounds.cpu_count * _PERIOD_US),
        },
        "memory": {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes": memory},
        "pids": {"pids.max": str(bounds.max_pids)},
    }.get(controller, {})


def _v2_files(controller: str, bounds: Bounds) -> dict[str, str]:
    return {
        "cpu": {"cpu.max": f"{bounds.cpu_count * _PERIOD_US} {_PERIOD_US}"},
        "memory": {"memory.max": str(bounds.memory_mb << 20), "memory.swap.max": "0"},
        "pids": {"pids.max": str(bounds.max_pids)},
    }.get(controller, {})


def _accepts(parent: Path, name: str) -> bool:
    """Swap files exist only where the kernel accounts swap; the parent group has the same files as its
    children.
    """
    return "sw" not in name or (parent / name).exists()
