"""The sandbox's command line."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from controlplane.sandbox import runtime, tree
from controlplane.sandbox.spec import Bounds, SandboxSpec

SPEC = SandboxSpec("gp-d-i-1", ("ssh-ed25519 AAAA",), "ssh-ed25519 BBBB", Bounds(1, 512, 1024, 64))


def _argv(**changes: bool) -> list[str]:
    flags = {"staged": True, "disk": True, "can_lock_userns": True, "seccomp": True, **changes}
    return tree.bwrap_argv("/usr/bin/bwrap", SPEC, runtime.sandboxed(model=False), ["agent"], **flags)


def test_everything_is_unshared_and_survives_us() -> None:
    argv = _argv()
    assert {"--unshare-all", "--unshare-user", "--as-pid-1", "--disable-userns", "--clearenv", "--seccomp"} <= set(argv)
    assert "--die-with-parent" not in argv, "machines outlive the control plane"
    assert "--share-net" not in argv
    assert argv[-2:] == ["--", "agent"]


def test_only_disks_are_writable() -> None:
    argv = _argv()
    writable = [argv[index + 1] for index, word in enumerate(argv) if word == "--bind"]
    assert writable == ["/mnt/disk/home", "/mnt/disk/tmp", "/mnt/disk/tmp"]
    remounted = [argv[index + 1] for index, word in enumerate(argv) if word == "--remount-ro"]
    assert {"/", "/dev"} <= set(remounted)


def test_memory_disks_are_bounded() -> None:
    argv = _argv(disk=False, staged=False)
    for index, word in enumerate(argv):
        if word == "--tmpfs" and argv[index + 1] in ("/root", "/tmp", "/run", "/dev/shm"):
            assert argv[index - 2] == "--size", argv[index - 4 : index + 2]


def test_host_paths_inside_are_neutral() -> None:
    shown = tree.sources(runtime.sandboxed(model=True))
    assert all(path.startswith(("/opt/gpuplane/", "/etc/")) for path in shown)
    hosts = [Path(path) for path in shown.values()]
    assert not any(path.name in ("site-packages", ".venv", "src", "controlplane") for path in hosts)


def test_jupyter_brings_its_packages_and_nothing_of_ours() -> None:
    more = tree.sources(runtime.sandboxed(jupyter=True)).keys() - tree.sources(runtime.sandboxed()).keys()
    names = {path.removeprefix("/opt/gpuplane/packages/") for path in more}
    assert {"jupyter_server", "ipykernel", "zmq", "tornado"} <= names
    assert not [name for name in names if "/" in name or name.endswith(".pth") or "gpuplane" in name]


def _install(folder: Path, version: str) -> None:
    for name, needs in (("jupyter-server", "Requires-Dist: ipykernel\n"), ("ipykernel", "")):
        module = name.replace("-", "_")
        info = folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (folder / module).mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        (info / "RECORD").write_text(f"../../../bin/x,,\n{module}/__init__.py,,\n{info.name}/RECORD,,\n")


def test_jupyter_may_be_updated_while_the_plane_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path), *(path for path in sys.path if "site-packages" not in path)])
    _install(tmp_path, "1.0")
    assert runtime.has_jupyter()
    for folder in tmp_path.glob("*-1.0.dist-info"):
        shutil.rmtree(folder)
    assert not runtime.has_jupyter()
    _install(tmp_path, "2.0")
    shown = [Path(path) for path in runtime.sandboxed(jupyter=True).binds.values() if path.startswith(str(tmp_path))]
    assert {path.name for path in shown} == {
        "jupyter_server", "jupyter_server-2.0.dist-info", "ipykernel", "ipykernel-2.0.dist-info",
    }  # fmt: skip
    (tmp_path / "ipykernel").rmdir()
    assert not runtime.has_jupyter(), "though it is still listed"
    assert not [path for path in runtime.sandboxed(jupyter=True).binds.values() if path.startswith(str(tmp_path))]
    (tmp_path / "ipykernel").mkdir()
    assert runtime.has_jupyter()


def test_a_state_folder_below_usr_is_hidden() -> None:
    hidden = runtime.sandboxed(hide=Path("/usr/local/share/gpuplane/machines"))
    assert "/usr/local/share/gpuplane/machines" in hidden.masks
