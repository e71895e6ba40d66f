"""A sighting in the port's words."""

from __future__ import annotations

import re

from controlplane.adapters.providers.local.settings import LocalSettings
from controlplane.ports.provider import Machine, MachineStatus, SshEndpoint, Utilisation
from controlplane.sandbox.machines import Sighting

_BWRAP = re.compile(r"^bwrap: .*$", re.MULTILINE)
_START_GRACE_US = 60_000_000  # a live machine that old is running, even if too busy to answer


def status(sighting: Sighting, *, answered: bool, now: int) -> MachineStatus:
    """What the machine is doing."""
    if sighting.kill_at is not None:
        return MachineStatus.STOPPING
    if not sighting.alive or sighting.record is None:
        return MachineStatus.FAILED
    young = now - sighting.record.created_at < _START_GRACE_US
    return MachineStatus.STARTING if young and not answered else MachineStatus.RUNNING


def machine(
    sighting: Sighting,
    state: MachineStatus,
    utilisation: Utilisation | None,
    message: str,
    settings: LocalSettings,
) -> Machine:
    """The whole answer. Without a record all that is known is that something is there to destroy."""
    record = sighting.record
    if record is None:
        return Machine(sighting.label, sighting.label, state, message=message, host_id=settings.host_id)
    price = record.note.get("price_nano_per_hour")
    return Machine(
        id=sighting.label,
        label=sighting.label,
        status=state,
        ssh=SshEndpoint(settings.advertised_host, record.ssh_port, "root", record.host_key),
        model_url=f"http://127.0.0.1:{record.model_port}/v1" if record.model_port else "",
        jupyter_url=f"http://{_in_url(settings.advertised_host)}:{record.jupyter_port}" if record.jupyter_port else "",
        message=message,
        price_nano_per_hour=price if isinstance(price, int) else None,
        created_at=record.created_at,
        utilisation=utilisation,
        host_id=settings.host_id,
    )


def why_failed(sighting: Sighting, log_tail: str) -> str:
    """One sentence on a machine that is on record but not alive."""
    if sighting.record is None or not sighting.record.pid:
        return "the control plane ended while it made this machine"
    last = without_host(log_tail).strip().splitlines()
    return f"the machine's process ended{f'; its last words: {last[-1][:300]}' if last else ''}"


def without_host(log: str) -> str:
    """A machine's log without bubblewrap's words, which name paths of the host."""
    return _BWRAP.sub("the sandbox could not be built", log)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
