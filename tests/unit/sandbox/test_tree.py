"""The sandbox's command line."""

from __future__ import annotations

from pathlib import Path

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


def test_a_state_folder_below_usr_is_hidden() -> None:
    hidden = runtime.sandboxed(hide=Path("/usr/local/share/gpuplane/machines"))
    assert "/usr/local/share/gpuplane/machines" in hidden.masks
