"""Machines that are servers of this process, each at its own port: of SSH, with a host key, letting in exactly the keys
installed on it, with commands answered and not run; or of a pretended model.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncssh

from controlplane.simulators.fake_service import serve
from controlplane.simulators.machines import Address, Tenancy

PROBE_COMMAND = "gpuplane-probe"  # what a control plane runs to see that a machine can be used


@dataclass(slots=True)
class _Box:
    """One machine's place. `port` keeps its address, and never listens: who does so binds the same address again."""

    tenancy: Tenancy
    port: socket.socket
    host_key: asyncssh.SSHKey
    acceptor: Any = None


class FakeMachines:
    """`Premises` of servers in this process."""

    def __init__(self, bind: str = "127.0.0.1") -> None:
        self._bind = bind
        self._boxes: dict[str, _Box] = {}

    def address(self, machine_id: str, version: int) -> Address | None:
        """See `Premises.address`."""
        box = self._boxes.get(machine_id)
        if box is None or box.tenancy.version != version:
            return None
        host, port = box.port.getsockname()[:2]
        return Address(host, port)

    def log(self, machine_id: str) -> str:
        """See `Premises.log`."""
        box = self._boxes.get(machine_id)
        if box is None:
            return ""
        return f"simulated machine: {'SSH' if box.tenancy.service is None else 'HTTP'} server ready\n"

    async def tend(self, tenancies: Sequence[Tenancy]) -> None:
        """See `Premises.tend`."""
        wanted = {tenancy.machine_id: tenancy for tenancy in tenancies}
        for machine_id, box in list(self._boxes.items()):
            tenancy = wanted.get(machine_id)
            if tenancy is None or tenancy.version != box.tenancy.version:
                self._boxes.pop(machine_id)
                await _clear(box)
        for tenancy in tenancies:
            await self._fit(tenancy)

    async def close(self) -> None:
        """See `Premises.close`."""
        await self.tend(())

    async def _fit(self, tenancy: Tenancy) -> None:
        box = self._boxes.get(tenancy.machine_id)
        if box is None:
            port = _bound((self._bind, 0))
            box = _Box(tenancy, port, asyncssh.generate_private_key("ssh-ed25519"))
            self._boxes[tenancy.machine_id] = box
        box.tenancy = tenancy
        if tenancy.listening and box.acceptor is None:
            await self._open(box)
        elif not tenancy.listening and box.acceptor is not None:
            await _shut(box)  # the port refuses connections again, as that of a stopped machine does

    async def _open(self, box: _Box) -> None:
        door = _bound(box.port.getsockname()[:2])
        if box.tenancy.service is not None:
            box.acceptor = await serve(door, box.tenancy.service)
            return
        box.acceptor = await asyncssh.listen(
            sock=door,
            server_factory=lambda: _Door(box),
            server_host_keys=[box.host_key],
            process_factory=_answer,
            password_auth=False,
            kbdint_auth=False,
            login_timeout=30,
            server_version="simulated",
        )


class _Door(asyncssh.SSHServer):
    """Lets in the user and the keys that the machine has at this moment."""

    def __init__(self, box: _Box) -> None:
        self._box = box
        self._conn: Any = None

    def connection_made(self, conn: Any) -> None:
        self._conn = conn

    def begin_auth(self, username: str) -> bool:
        tenancy = self._box.tenancy
        if username == tenancy.user and tenancy.keys:
            self._conn.set_authorized_keys(asyncssh.import_authorized_keys("\n".join(tenancy.keys) + "\n"))
        return True


async def _answer(process: asyncssh.SSHServerProcess[str]) -> None:
    if process.command != PROBE_COMMAND:
        process.stdout.write("simulated\n")
    with contextlib.suppress(asyncio.CancelledError, OSError):
        process.exit(0)


async def _clear(box: _Box) -> None:
    await _shut(box)
    box.port.close()


async def _shut(box: _Box) -> None:
    if box.acceptor is not None:
        box.acceptor.close()
        await box.acceptor.wait_closed()
        box.acceptor = None


def _bound(address: tuple[str, int]) -> socket.socket:
    """A socket at an address that others of ours may have too, and connections that were made there."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(address)
    return made
