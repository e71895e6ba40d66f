"""From a specification to what the launcher does and what the agent is told."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from controlplane.sandbox import names, processes, runtime, seccomp, tree
from controlplane.sandbox.host import Host
from controlplane.sandbox.records import MachineFolder
from controlplane.sandbox.spec import JupyterSpec, ModelSpec, SandboxSpec

_OPEN_FILES = 65_536
_MODEL_PORT, _JUPYTER_PORT = 8000, 8888  # their own defaults, inside the machine


@dataclass(frozen=True, slots=True)
class Wiring:
    """One machine about to be started."""

    spec: SandboxSpec
    folder: MachineFolder
    tag: str
    uid: int
    sandboxed: bool

    @property
    def runtime(self) -> runtime.Runtime:
        """What the agent's programs are run with."""
        if not self.sandboxed:
            return runtime.unsandboxed()
        service = self.spec.service
        return runtime.sandboxed(
            model=isinstance(service, ModelSpec),
            jupyter=isinstance(service, JupyterSpec),
            hide=self.folder.path.parent,
        )


def launch_plan(wiring: Wiring, host: Host) -> dict[str, Any]:
    """What the launcher does before it becomes the sandbox."""
    spec, run = wiring.spec, wiring.runtime
    staged = wiring.sandboxed and host.root
    disk = staged and not host.disk_refusal
    groups = host.cgroups
    filter_program = seccomp.program() if wiring.sandboxed else b""
    argv = [*run.program("main"), *processes.arguments(wiring.tag, spec.label)]
    if wiring.sandboxed:
        argv = tree.bwrap_argv(
            host.bwrap,
            spec,
            run,
            argv,
            staged=staged,
            disk=disk,
            can_lock_userns=host.can_lock_userns,
            seccomp=bool(filter_program),
        )
    else:
        wiring.folder.home.mkdir(mode=0o700)
    return {
        "argv": argv,
        "uid": wiring.uid if staged else None,
        "stage": tree.STAGE,
        "sources": {inside.lstrip("/"): outside for inside, outside in tree.sources(run).items()},
        "disk": {"image": str(wiring.folder.disk), "mb": spec.bounds.disk_mb} if disk else None,
        "cgroups": groups.plan(names.group_name(wiring.tag, spec.label), spec.bounds),
        "cpus": [] if "cpu" in groups.parents else _some_cpus(spec.bounds.cpu_count),
        "seccomp": {"fd": tree.SECCOMP_FD, "program": filter_program.hex()} if filter_program else None,
        "info": {"path": str(wiring.folder.child), "fd": tree.INFO_FD} if wiring.sandboxed else None,
    }


def agent_config(wiring: Wiring, host: Host, host_key: str) -> dict[str, Any]:
    """What the agent is told; holds secrets."""
    spec, run = wiring.spec, wiring.runtime
    home = "/root" if wiring.sandboxed else str(wiring.folder.home)
    mark = {} if wiring.sandboxed else {processes.MARK: f"{wiring.tag}/{spec.label}"}
    env = tree.session_env(spec, home, mark)
    return {
        "env": env,
        "sftp": run.program("sftp"),
        "host_key": host_key,
        "authorized_keys": list(spec.authorized_keys),
        "probe_key": spec.probe_key,
        "limits": _limits(wiring, host),
        "service": _service(spec, run),
    }


def _limits(wiring: Wiring, host: Host) -> dict[str, int]:
    spec = wiring.spec
    limits = {"CORE": 0, "NOFILE": _OPEN_FILES}
    if wiring.sandboxed:  # outside of a user namespace the count is the whole user's
        limits["NPROC"] = spec.bounds.max_pids
    if "memory" not in host.cgroups.parents and not spec.devices:
        limits["AS"] = spec.bounds.memory_mb << 20  # with a GPU it would refuse CUDA's huge address ranges
    return limits


def _service(spec: SandboxSpec, run: runtime.Runtime) -> dict[str, Any] | None:
    """The server beside SSH. Secrets go by the environment: arguments would show in the process list."""
    match spec.service:
        case ModelSpec(name, api_key):
            serve = ["serve", name, "--host", "127.0.0.1", "--port", str(_MODEL_PORT), "--served-model-name", name]
            return {
                "name": "model",
                "argv": [*run.program("vllm"), *serve],
                "env": {"GPUPLANE_WEIGHTS": run.weights, "VLLM_API_KEY": api_key},
                "port": _MODEL_PORT,
                "secret": api_key,
            }
        case JupyterSpec(token):
            # Kernels are interpreters of their own and find their packages by the environment.
            found = {"PYTHONPATH": os.pathsep.join(run.paths[1:]), **run.env}
            return {
                "name": "jupyter",
                "argv": [*run.program("jupyter"), str(_JUPYTER_PORT)],
                "env": {**found, "JUPYTER_TOKEN": token},
                "port": _JUPYTER_PORT,
                "secret": token,
            }
    return None


def _some_cpus(count: int) -> list[int]:
    """Some of our processors, not always the same ones."""
    ours = sorted(os.sched_getaffinity(0))
    first = int.from_bytes(os.urandom(2), "big") % len(ours)
    return [ours[(first + offset) % len(ours)] for offset in range(min(count, len(ours)))]
