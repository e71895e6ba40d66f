"""One state folder of the local provider and the tools to look at it from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncssh

from controlplane.adapters.prober import SshProber, probe_public_key
from controlplane.adapters.providers.local import LocalProvider, LocalSettings
from controlplane.domain.offer import Offer
from controlplane.ports.provider import (
    Created,
    Destruction,
    LaunchSpec,
    Machine,
    MachineStatus,
)
from controlplane.sandbox import names
from controlplane.sandbox.cgroups import PARENT

CGROUPS = Path("/sys/fs/cgroup")
DIALECT_PORTS = 8  # from the main port on, more than there are
CRASHER = Path(__file__).with_name("crashing_plane.py")


class WallClock:
    """Real time, moved by `ahead_s`."""

    def __init__(self, ahead_s: float = 0) -> None:
        self.ahead_s = ahead_s

    def now(self) -> int:
        return int((time.time() + self.ahead_s) * 1_000_000)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class Plane:
    """A state folder, the keys of one tenant, and everything started below it."""

    root: Path
    seed: bytes = field(default_factory=lambda: os.urandom(32))
    key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    clock: WallClock = field(default_factory=WallClock)
    deployment: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def provider(self, **settings: Any) -> LocalProvider:
        bounds = {"cpu_count": 1, "memory_mb": 256, "max_pids": 96, "disk_gb": 1, **settings}
        return LocalProvider(LocalSettings(self.root, "host-1", **bounds), self.clock)

    @property
    def identity(self) -> Path:
        path = self.root / "id_tenant"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(self.key.export_private_key("openssh"))
        return path

    def label(self, name: str = "a") -> str:
        return f"gp-{self.deployment}-{name}-1"

    def spec(self, offered: Offer, name: str = "a", **changes: Any) -> LaunchSpec:
        public = self.key.export_public_key("openssh").decode().strip()
        probe = probe_public_key(self.seed)
        spec = LaunchSpec(self.label(name), offered, (public,), probe, 1)
        return replace(spec, **changes)

    async def launch(self, provider: LocalProvider, name: str = "a", **changes: Any) -> Machine:
        offer = (await provider.offers())[0]
        outcome = await provider.launch(self.spec(offer, name, **changes))
        assert outcome == Created(self.label(name)), await self.why(provider, outcome, name)
        machine = await provider.describe(self.label(name))
        assert machine.ssh is not None
        verified = await SshProber().probe(machine.ssh, self.seed, 30)
        assert verified.ready, await self.why(provider, verified.reason, name)
        return await provider.describe(machine.id)

    async def why(self, provider: LocalProvider, what: object, name: str) -> str:
        return f"{what}\n{await provider.logs(self.label(name), tail=50)}"

    def connect(self, machine: Machine) -> Any:
        assert machine.ssh is not None
        return asyncssh.connect(
            machine.ssh.host,
            machine.ssh.port,
            username="root",
            client_keys=[self.key],
            known_hosts=None,
            config=None,
        )

    async def run(self, machine: Machine, command: str, **options: Any) -> asyncssh.SSHCompletedProcess:
        async with self.connect(machine) as connection:
            return await asyncio.wait_for(connection.run(command, **options), 30)

    def openssh(self, tool: str, machine: Machine, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        argv = [find_tool(tool), *self.ssh_options(machine, "-P" if tool in ("scp", "sftp") else "-p"), *args]
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, **options)

    def ssh_options(self, machine: Machine, port_flag: str = "-p") -> list[str]:
        assert machine.ssh is not None
        known = self.root / "known_hosts"
        known.write_text(f"[{machine.ssh.host}]:{machine.ssh.port} {machine.ssh.host_key}\n")
        options = {
            "UserKnownHostsFile": known,
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
        }
        flags = [text for name, value in options.items() for text in ("-o", f"{name}={value}")]
        return ["-F", "none", "-i", str(self.identity), port_flag, str(machine.ssh.port), *flags]

    def tag(self) -> str:
        return names.plane_tag(self.root / "machines")

    def leftovers(self) -> list[str]:
        """Anything of this plane that the host still holds."""
        found = [f"process {pid}: {line}" for pid, line in command_lines() if self.tag() in line]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        found += [f"mount: {line}" for line in mounts if str(self.root) in line]
        found += [f"loop: {line}" for line in loop_devices() if str(self.root) in line]
        groups = [folder / PARENT for folder in (CGROUPS, *CGROUPS.iterdir()) if (folder / PARENT).is_dir()]
        found += [f"group: {group / name}" for group in groups for name in os.listdir(group) if self.tag() in name]
        folder = self.root / "machines"
        return found + [f"folder: {path}" for path in (folder.iterdir() if folder.exists() else [])]


async def crash(plane: Plane, moment: str) -> None:
    """Let another control plane launch a machine and die by SIGKILL at that moment."""
    public = plane.key.export_public_key("openssh").decode().strip()
    argv = [
        sys.executable,
        str(CRASHER),
        str(plane.root),
        plane.label(),
        moment,
        public,
        probe_public_key(plane.seed),
    ]
    process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == -signal.SIGKILL, said.decode()


async def until_gone(provider: LocalProvider, machine_id: str, *, grace_s: float) -> None:
    async def gone() -> bool:
        return await provider.destroy(machine_id, grace_s=grace_s) is Destruction.GONE

    await eventually_async(gone, timeout_s=20)


async def has_status(provider: LocalProvider, machine_id: str, status: MachineStatus) -> bool:
    return (await provider.describe(machine_id)).status is status


async def eventually(
    check: Callable[[], bool], why: Callable[[], str] = lambda: "it did not happen", timeout_s: float = 10
) -> None:
    async def look() -> bool:
        return await asyncio.to_thread(check)

    await eventually_async(look, why, timeout_s)


async def eventually_async(
    check: Callable[[], Awaitable[bool]],
    why: Callable[[], str] = lambda: "it did not happen",
    timeout_s: float = 10,
) -> None:
    deadline = time.monotonic() + timeout_s
    while not await check():
        assert time.monotonic() < deadline, why()
        await asyncio.sleep(0.03)


async def upload(plane: Plane, machine: Machine, path: Path) -> None:
    async with plane.connect(machine) as connection, connection.start_sftp_client() as sftp:
        await sftp.put(str(path), f"/root/{path.name}")


def find_tool(name: str) -> str:
    package = {"bwrap": "bubblewrap"}.get(name, "openssh-client")
    path = shutil.which(name)
    assert path, f"{name} is missing: apt-get install {package}"
    return path


def command_lines() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                yield (
                    int(entry.name),
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"),
                )


def agent_of(plane: Plane, machine: Machine) -> int:
    """Host pid of a machine's first process."""
    frame = [pid for pid, line in command_lines() if plane.tag() in line and machine.label in line]
    (agent,) = [pid for pid in frame if status_of(pid, "NSpid").split()[1:] == ["1"]]
    return agent


def status_of(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":\t")[1] for line in lines if line.startswith(f"{name}:"))


def descriptors_of(pid: int) -> list[str]:
    return [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def namespace_of(agent: int) -> Iterator[int]:
    """Host pids of everything in a machine; found by parentage, since namespaces of others are not readable."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, StopIteration):
            if entry.name.isdigit():
                parents[int(entry.name)] = int(status_of(int(entry.name), "PPid"))
    for pid in parents:
        ancestor = pid
        while ancestor not in (0, agent):
            ancestor = parents.get(ancestor, 0)
        if ancestor == agent:
            yield pid


def loop_devices() -> list[str]:
    return subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout.splitlines()


def small_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size < 1_000_000:
            yield path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def free_base_port() -> int:
    """A main port for a plane that is killed and started again: it and those of the dialects are free, and below those
    that the kernel gives to anybody's outgoing connections, which would take one while the plane is down."""
    while True:
        base = random.randrange(12_000, 32_000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as probes:
            for port in range(base, base + DIALECT_PORTS):
                probes.enter_context(socket.create_server(("127.0.0.1", port)))
            return base


def refuses(machine: Machine) -> bool:
    assert machine.ssh is not None
    try:
        socket.create_connection((machine.ssh.host, machine.ssh.port), 1).close()
    except ConnectionRefusedError:
        return True
    return False


def was_contacted(server: socket.socket) -> bool:
    server.settimeout(0.05)
    try:
        server.accept()[0].close()
    except TimeoutError:
        return False
    return True


def http_get(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            content: bytes = answer.read()
            return content
    except OSError:
        return b""
    except Exception:
        return b""


def http_post(url: str, key: str, body: dict[str, Any]) -> bytes:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from error


def private_pem(seed: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.from_private_bytes(seed)
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
