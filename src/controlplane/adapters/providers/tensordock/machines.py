"""Rows of TensorDock as machines."""

from __future__ import annotations

import re
from typing import Any

from controlplane.adapters.providers.http.values import identifier, natural, price, text
from controlplane.adapters.providers.tensordock.launching import USER
from controlplane.ports.provider import Machine, MachineStatus, SshEndpoint

_STATUS = {
    "creating": MachineStatus.PROVISIONING,
    "starting": MachineStatus.STARTING,
    "running": MachineStatus.RUNNING,
    "stopping": MachineStatus.STOPPING,
    "stopped": MachineStatus.STOPPED,
    "stoppeddisassociated": MachineStatus.STOPPED,
    "deleting": MachineStatus.STOPPING,
    "deleted": MachineStatus.GONE,
    "error": MachineStatus.FAILED,
}
_SSH_PORT = 22
_ADDRESS = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}")


def rows(value: Any) -> list[Any] | None:
    """The machines in any of the three shapes in which the list was seen; None where there is no list."""
    while isinstance(value, dict):
        value = next((value[key] for key in ("data", "attributes", "instances") if key in value), None)
    return [flat(row) for row in value] if isinstance(value, list) else None


def flat(value: Any) -> Any:
    """One machine without the envelope it may come in, its attributes beside its id."""
    if isinstance(value, dict) and isinstance(value.get("data"), dict):
        value = value["data"]
    if isinstance(value, dict) and isinstance(value.get("attributes"), dict):
        return {**value, **value["attributes"]}
    return value


def machine(row: Any) -> Machine | None:
    """One row; None if it does not even say which machine it is about."""
    machine_id = identifier(row.get("id")) if isinstance(row, dict) else ""
    if not machine_id:
        return None
    word = text(row.get("status"))
    status = _STATUS.get(word.lower(), MachineStatus.UNKNOWN)
    return Machine(
        id=machine_id, label=text(row.get("name")), status=status,
        ssh=_ssh(row) if status is MachineStatus.RUNNING else None,
        message="" if status is MachineStatus.RUNNING else f"TensorDock says {word or 'nothing'}",
        price_nano_per_hour=price(row.get("rateHourly", row.get("rate_hourly"))),
    )  # fmt: skip


def _ssh(row: dict[str, Any]) -> SshEndpoint | None:
    """Where SSH answers once it does: the address is told some seconds after `running` is."""
    address = text(row.get("ipAddress") or row.get("ip_address"))
    if not _ADDRESS.fullmatch(address):
        return None
    forwards = row.get("portForwards", row.get("port_forwards"))
    for forward in forwards if isinstance(forwards, list) else ():
        if isinstance(forward, dict) and natural(forward.get("internal_port"), 65535) == _SSH_PORT:
            outside = natural(forward.get("external_port"), 65535)
            if outside:
                return SshEndpoint(address, outside, USER)
    return SshEndpoint(address, _SSH_PORT, USER)
