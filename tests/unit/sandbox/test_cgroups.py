"""Both versions of control groups, on a folder that looks like one: only version 1 is on the machine we build on."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.sandbox import cgroups
from controlplane.sandbox.spec import Bounds

BOUNDS = Bounds(cpu_count=2, memory_mb=512, disk_mb=1024, max_pids=64)


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    """A root of version 2; files appear in new groups as the kernel would make them."""
    for folder in (tmp_path, tmp_path / cgroups.PARENT):
        folder.mkdir(exist_ok=True)
        for name in ("cgroup.controllers", "cgroup.procs", "cgroup.subtree_control"):
            (folder / name).write_text("")
    (tmp_path / cgroups.PARENT / "memory.swap.max").write_text("")
    return tmp_path


def _plan(groups: cgroups.Cgroups) -> dict[str, str]:
    return {k: v for group in groups.plan("tag.label", BOUNDS) for k, v in group["files"].items()}  # type: ignore[attr-defined]


def test_version_2_bounds(v2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_text

    def kernel(path: Path, text: str) -> int:
        done = write(path, text)
        if path.name == "cgroup.subtree_control":
            write(v2 / cgroups.PARENT / path.name, "cpu memory pids")
        return done

    monkeypatch.setattr(Path, "write_text", kernel)
    groups = cgroups.find(v2, privileged=True)
    assert (groups.version, groups.reason) == (2, "")
    assert len(groups.plan("tag.label", BOUNDS)) == 1, "one directory for all controllers"
    assert _plan(groups) == {
        "cpu.max": "200000 100000",
        "memory.max": str(512 << 20),
        "memory.swap.max": "0",
        "pids.max": "64",
    }


def test_version_2_usage_and_removal(v2: Path) -> None:
    parent = v2 / cgroups.PARENT
    groups = cgroups.Cgroups(2, dict.fromkeys(("cpu", "memory", "pids"), parent))
    group = parent / "tag.label"
    assert groups.cpu_ns("tag.label") is None
    group.mkdir()
    (group / "cpu.stat").write_text("nr_periods 3\nusage_usec 1500\nuser_usec 1000\n")
    (group / "cgroup.procs").write_text("12\n34\n")
    assert groups.cpu_ns("tag.label") == 1_500_000
    assert groups.pids("tag.label") == {12, 34}
    assert groups.remove("tag.label") is False, "the kernel refuses while it is in use"
    for file in group.iterdir():
        file.unlink()
    assert groups.remove("tag.label") is True
    assert groups.remove("tag.label") is True


def test_version_2_without_delegation(v2: Path) -> None:
    groups = cgroups.find(v2, privileged=True)
    assert groups.parents == {}
    assert "cpu, memory, pids" in groups.reason
    assert groups.plan("tag.label", BOUNDS) == []


def test_version_1_with_some_controllers(tmp_path: Path) -> None:
    for controller in ("memory", "pids"):
        parent = tmp_path / controller / cgroups.PARENT
        parent.mkdir(parents=True)
        (parent / "cgroup.procs").write_text("")
    groups = cgroups.find(tmp_path, privileged=True)
    assert groups.version == 1
    assert groups.reason.endswith("cpu, cpuacct")
    assert _plan(groups) == {"memory.limit_in_bytes": str(512 << 20), "pids.max": "64"}


def test_unprivileged(tmp_path: Path) -> None:
    groups = cgroups.find(tmp_path, privileged=False)
    assert groups.parents == {}
    assert "root" in groups.reason
    assert groups.pids("x") == set()
    assert groups.remove("x") is True
