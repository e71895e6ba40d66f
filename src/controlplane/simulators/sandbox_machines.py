"""Machines that are sandboxed processes of this host, with real shells: slower to come up than fake ones, and true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import asyncssh

from controlplane.sandbox import control
from controlplane.sandbox.host import Host
from controlplane.sandbox.machines import Machines
from controlplane.sandbox.spec import Bounds, SandboxError, SandboxSpec
from controlplane.simulators.machines import Address, Tenancy

_BOUNDS = Bounds(cpu_count=1, memory_mb=512, disk_mb=1024, max_pids=256)
_MOST = 256
_STOP_S, _STOP_STEP_S = 10.0, 0.2
_KEY_S = 5.0
_BIND = "127.0.0.1"


@dataclass(slots=True)
class _Box:
    """What stands for one machine. `address` is None while it is made, or when it could not be."""

    tenancy: Tenancy
    address: Address | None = None


class SandboxMachines:
    """`Premises` of sandboxes. A box stands while its machine accepts connections: one that is stopped
    loses its files."""

    def __init__(self, folder: Path) -> None:
        """Raises SandboxError when this host can build none. Blocking."""
        host = Host()
        if host.refusal:
            raise SandboxError(host.refusal)
        self._machines = Machines(folder, host)
        self._boxes: dict[str, _Box] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        # A machine's agent wants to know the probe's key by name; here it is one of the tenant's, this one nobody's.
        self._no_probe = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode().strip()

    def address(self, machine_id: str, version: int) -> Address | None:
        """See `Premises.address`."""
        box = self._boxes.get(machine_id)
        return box.address if box is not None and box.tenancy.version == version else None

    def log(self, machine_id: str) -> str:
        """See `Premises.log`."""
        return self._machines.log_tail(machine_id, 1000)

    async def tend(self, tenancies: Sequence[Tenancy]) -> None:
        """See `Premises.tend`. Boxes are made and removed in the background."""
        wanted = {tenancy.machine_id: tenancy for tenancy in tenancies if tenancy.listening and tenancy.keys}
        for machine_id in {*wanted, *self._boxes}:
            box, tenancy = self._boxes.get(machine_id), wanted.get(machine_id)
            if machine_id not in self._busy and (box.tenancy if box else None) != tenancy:
                self._busy[machine_id] = asyncio.create_task(self._fit(machine_id, tenancy))

    async def close(self) -> None:
        """See `Premises.close`."""
        await asyncio.gather(*self._busy.values(), return_exceptions=True)
        await self.tend(())
        await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _fit(self, machine_id: str, tenancy: Tenancy | None) -> None:
        box = self._boxes.get(machine_id)
        try:
            if box is not None and tenancy is not None and _only_gained_keys(box.tenancy, tenancy):
                await self._add_keys(box, tenancy)
                return
            if self._boxes.pop(machine_id, None) is not None:
                await asyncio.to_thread(self._remove, machine_id)
            if tenancy is not None:
                box = self._boxes[machine_id] = _Box(tenancy)
                box.address = await asyncio.to_thread(self._make, tenancy)
        finally:
            self._busy.pop(machine_id, None)

    async def _add_keys(self, box: _Box, tenancy: Tenancy) -> None:
        """One after the other; what was not taken is tried again when the box is next tended."""
        door = self._machines.control_socket(tenancy.machine_id)
        for line in tenancy.keys:
            if line not in box.tenancy.keys and not await control.add_key(door, line, _KEY_S):
                return
        box.tenancy = tenancy

    def _make(self, tenancy: Tenancy) -> Address | None:
        spec = SandboxSpec(tenancy.machine_id, tenancy.keys, self._no_probe, _BOUNDS, bind=_BIND)
        try:
            self._machines.create(spec, _now_us(), limit=_MOST)
        except SandboxError:
            return None  # to the tenant this is a machine that never opens its port
        sighting = self._machines.look(tenancy.machine_id)
        record = sighting.record if sighting else None
        return Address(_BIND, record.ssh_port) if record else None

    def _remove(self, machine_id: str) -> None:
        deadline = time.monotonic() + _STOP_S
        while not self._machines.stop(machine_id, _now_us(), 0) and time.monotonic() < deadline:
            time.sleep(_STOP_STEP_S)


def _only_gained_keys(before: Tenancy, now: Tenancy) -> bool:
    return replace(before, keys=now.keys) == now and set(before.keys) < set(now.keys)


def _now_us() -> int:
    return time.time_ns() // 1000
