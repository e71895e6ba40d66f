"""Machines of one state folder: made, seen, stopped, removed. All of it blocks; call it from threads."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import asyncssh

from controlplane.sandbox import control, disks, names, processes
from controlplane.sandbox.host import Host
from controlplane.sandbox.plans import Wiring, agent_config, launch_plan
from controlplane.sandbox.records import MachineFolder, Record
from controlplane.sandbox.spawn import CONTROL_FD, SERVICE_FD, SSH_FD, Launcher, spawn
from controlplane.sandbox.spec import JupyterSpec, ModelSpec, SandboxError, SandboxSpec

_PREPARE_TIMEOUT_S = 45.0
_SETTLE_S, _SETTLE_STEP_S = 0.15, 0.01
_LOG_READ = 256 * 1024


@dataclass(frozen=True, slots=True)
class Sighting:
    """A machine as found now. Without a record it is what a control plane left that died while making it."""

    label: str
    record: Record | None
    alive: bool
    kill_at: int | None  # microseconds; set once somebody asked it to stop


class Machines:
    """The machines below `root`; several processes may look at the same ones."""

    def __init__(self, root: Path, host: Host, *, unsandboxed: bool = False) -> None:
        self.host = host
        self._root = root.resolve()
        self._tag = names.plane_tag(self._root)
        self._unsandboxed = unsandboxed
        self._claims = threading.Lock()
        self._children: set[int] = set()  # launchers we started ourselves and so have to collect

    def create(self, spec: SandboxSpec, now: int, *, limit: int) -> bool:
        """Make a machine; false when the label has one already. Raises SandboxError when it cannot be made or
        would be one more than `limit`; the error says if anything is left of it.
        """
        if not names.is_label(spec.label):
            raise SandboxError(f"{spec.label!r} is not a machine label")
        refusal = self.host.refusal
        if refusal and not self._unsandboxed:
            raise SandboxError(refusal)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = self._folder(spec.label)
        with self._claims:
            if not folder.claim():
                return False
            if self.count() > limit:
                folder.remove()
                raise SandboxError(f"this host runs its {limit} machines already")
        try:
            self._start(folder, spec, now, sandboxed=not refusal)
        except (OSError, SandboxError) as error:
            remains = not self.stop(spec.label, now, 0)
            raise SandboxError(_reason(error), remains=remains) from error
        return True

    def _start(self, folder: MachineFolder, spec: SandboxSpec, now: int, *, sandboxed: bool) -> None:
        sockets = _listen(folder, spec)
        try:
            host_key = asyncssh.generate_private_key("ssh-ed25519")
            record = _record(spec, now, host_key, sockets, sandboxed=sandboxed)
            folder.write(record)  # the intent: from here on a crash leaves something to find
            wiring = Wiring(spec, folder, self._tag, names.machine_uid(self._tag, spec.label), sandboxed)
            config = agent_config(wiring, self.host, host_key.export_private_key("openssh").decode())
            arguments = processes.arguments(self._tag, spec.label)
            launcher = spawn(arguments, launch_plan(wiring, self.host), config, sockets, folder.log)
        finally:
            for sock in sockets.values():
                sock.close()
        self._children.add(launcher.pid)
        try:
            self._admit(folder, record, launcher)
        finally:
            launcher.close()

    def _admit(self, folder: MachineFolder, record: Record, launcher: Launcher) -> None:
        """Record the launcher, then let it through its gate; killed in between, it goes away by itself."""
        ticks = processes.start_ticks(launcher.pid) or 0
        folder.write(replace(record, boot_id=processes.boot_id(), pid=launcher.pid, start_ticks=ticks))
        launcher.open_gate()
        launcher.wait_prepared(_PREPARE_TIMEOUT_S)

    def look(self, label: str) -> Sighting | None:
        """One machine; None when neither a record nor a process of it is left."""
        folder = self._folder(label)
        record = folder.read()
        alive = record is not None and self._is_alive(record, folder)
        if not alive:
            alive = label in processes.scan(self._tag)
        if not folder.exists() and not alive:
            return None
        return Sighting(label, record, alive, folder.read_stop())

    def look_all(self, prefix: str) -> list[Sighting]:
        """All machines whose label begins with `prefix`, on record or only as processes."""
        running = processes.scan(self._tag)
        stored = {entry.name for entry in self._entries()}
        found = []
        for label in sorted(label for label in stored | set(running) if label.startswith(prefix)):
            folder = self._folder(label)
            record = folder.read()
            alive = label in running or (record is not None and self._is_alive(record, folder))
            if alive or folder.exists():
                found.append(Sighting(label, record, alive, folder.read_stop()))
        return found

    def count(self) -> int:
        """Machines that take up room, ended ones not yet removed included."""
        return len(self._entries())

    def promised_mb(self) -> int:
        """Disk promised to machines and not yet written by them."""
        total = 0
        for entry in self._entries():
            record = MachineFolder(entry).read()
            if record is not None:
                total += max(0, record.bounds["disk_mb"] - _written_mb(entry / "disk.img"))
        return total

    def free_mb(self) -> int:
        """Free space below the state folder."""
        existing = next(path for path in (self._root, *self._root.parents) if path.exists())
        return shutil.disk_usage(existing).free >> 20

    def stop(self, label: str, now: int, grace_us: int) -> bool:
        """Ask a machine to stop, kill it once its time is over, remove what is left of it; true when nothing
        is.

        The earliest deadline ever given holds, also for a later control plane.
        """
        folder = self._folder(label)
        kill_at = self._remember_stop(folder, now + grace_us) if folder.exists() else now
        self._signal(folder, label, kill=kill_at <= now)
        deadline = time.monotonic() + _SETTLE_S
        while not self._clean(folder, label):
            if kill_at > now or time.monotonic() > deadline:
                return False
            time.sleep(_SETTLE_STEP_S)
        return True

    def kill_overdue(self, sighting: Sighting, now: int) -> None:
        """Enforce a deadline that passed without anybody asking again."""
        if sighting.alive and sighting.kill_at is not None and sighting.kill_at <= now:
            self._signal(self._folder(sighting.label), sighting.label, kill=True)

    def log_tail(self, label: str, lines: int) -> str:
        """The last lines of a machine's log; empty when there is none."""
        try:
            with open(self._folder(label).log, "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_READ))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:]) if lines > 0 else ""

    def cpu_ns(self, record: Record) -> int | None:
        """Processor time a machine has used; None when this host cannot tell."""
        used = self.host.cgroups.cpu_ns(names.group_name(self._tag, record.label))
        if used is not None:
            return used
        pid = self._folder(record.label).child_pid() if record.sandboxed else record.pid
        return processes.cpu_ns(pid) if pid and processes.is_machine(pid, self._tag, record.label) else None

    def control_socket(self, label: str) -> Path:
        """Where the machine's agent answers."""
        return self._folder(label).socket

    def _remember_stop(self, folder: MachineFolder, kill_at: int) -> int:
        before = folder.read_stop()
        if before is not None and before <= kill_at:
            return before
        folder.write_stop(kill_at)
        return kill_at

    def _signal(self, folder: MachineFolder, label: str, *, kill: bool) -> None:
        pids = self._pids(folder, label)
        if not kill:
            # Only the agent: its monitor outside would die and leave the agent to a lesser fate.
            agent = folder.child_pid()
            processes.send({agent} & pids or pids, signal.SIGTERM)
            return
        group = names.group_name(self._tag, label)
        processes.send(pids | self.host.cgroups.pids(group), signal.SIGKILL)
        if self._unsandboxed:
            processes.send(processes.marked(self._tag, label), signal.SIGKILL)

    def _clean(self, folder: MachineFolder, label: str) -> bool:
        """Remove everything once no process is left; false while something is."""
        group = names.group_name(self._tag, label)
        if self._pids(folder, label) or self.host.cgroups.pids(group):
            return False
        if self._unsandboxed and processes.marked(self._tag, label):
            return False
        if disks.loop_devices(folder.disk) or not self.host.cgroups.remove(group):
            return False
        folder.remove()
        self._reap()
        return True

    def _pids(self, folder: MachineFolder, label: str) -> set[int]:
        """The machine's frame: launcher or monitor, and agent; with these gone the kernel ends the rest."""
        pids = set(processes.scan(self._tag).get(label, set()))
        record = folder.read()
        if record is not None and self._is_launcher_alive(record):
            pids.add(record.pid)
        return pids

    def _is_alive(self, record: Record, folder: MachineFolder) -> bool:
        if self._is_launcher_alive(record):
            return True
        child = folder.child_pid()
        return bool(child) and processes.is_machine(child, self._tag, record.label)

    def _is_launcher_alive(self, record: Record) -> bool:
        if not record.pid or record.boot_id != processes.boot_id():
            return False
        self._reap()
        return processes.start_ticks(record.pid) == record.start_ticks

    def _reap(self) -> None:
        for pid in tuple(self._children):
            if processes.reap(pid):
                self._children.discard(pid)

    def _folder(self, label: str) -> MachineFolder:
        return MachineFolder(self._root / (label if names.is_label(label) else "-"))

    def _entries(self) -> list[Path]:
        try:
            return [entry for entry in self._root.iterdir() if names.is_label(entry.name)]
        except FileNotFoundError:
            return []


def _listen(folder: MachineFolder, spec: SandboxSpec) -> Mapping[int, socket.socket]:
    sockets = {CONTROL_FD: control.listen(folder.socket)}
    try:
        family = socket.AF_INET6 if ":" in spec.bind else socket.AF_INET
        sockets[SSH_FD] = socket.create_server((spec.bind, 0), family=family, backlog=128)
        if isinstance(spec.service, ModelSpec):  # only this host's router talks to it
            sockets[SERVICE_FD] = socket.create_server(("127.0.0.1", 0), backlog=128)
        elif spec.service is not None:
            sockets[SERVICE_FD] = socket.create_server((spec.bind, 0), family=family, backlog=128)
    except BaseException:
        for sock in sockets.values():
            sock.close()
        raise
    return sockets


def _record(
    spec: SandboxSpec,
    now: int,
    host_key: asyncssh.SSHKey,
    sockets: Mapping[int, socket.socket],
    *,
    sandboxed: bool,
) -> Record:
    ports = {place: sock.getsockname()[1] for place, sock in sockets.items() if place != CONTROL_FD}
    return Record(
        label=spec.label,
        created_at=now,
        host_key=host_key.export_public_key("openssh").decode().strip(),
        ssh_port=ports[SSH_FD],
        model_port=ports.get(SERVICE_FD, 0) if isinstance(spec.service, ModelSpec) else 0,
        jupyter_port=ports.get(SERVICE_FD, 0) if isinstance(spec.service, JupyterSpec) else 0,
        sandboxed=sandboxed,
        bounds=asdict(spec.bounds),
        note=dict(spec.note),
    )


def _reason(error: OSError | SandboxError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def _written_mb(image: Path) -> int:
    try:
        return image.stat().st_blocks * 512 >> 20
    except OSError:
        return 0
