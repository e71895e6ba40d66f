"""Vast.ai's instances as machines."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from controlplane.adapters.providers.http import values
from controlplane.adapters.providers.vastai import serving
from controlplane.ports.provider import Machine, MachineStatus, SshEndpoint, Utilisation

_USER, _SSH_PORT = "root", 22
_HOST = re.compile(r"^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$", re.IGNORECASE)
_BROKEN = "oci runtime"  # in the message of a container that will never start
_LONGEST_MINUTES = 100 * 366 * 24 * 60

_STATUS = {
    "": MachineStatus.PROVISIONING, "created": MachineStatus.PROVISIONING, "loading": MachineStatus.STARTING,
    "rebooting": MachineStatus.STARTING, "restarting": MachineStatus.STARTING, "running": MachineStatus.RUNNING,
    "stopped": MachineStatus.STOPPED, "frozen": MachineStatus.STOPPED,
}  # fmt: skip


def machine_of(row: Any) -> Machine | None:
    """The machine of a row; None if the row names none."""
    number = values.natural(row.get("id"), 10**15) if isinstance(row, dict) else None
    if not number:
        return None
    status = status_of(row)
    up, serves = status is MachineStatus.RUNNING, serving.only_serves(row)
    ways = _ways_in(row) if up and not serves else ()
    minutes = values.decimal(row.get("uptime_mins"))
    ran = float(minutes * 60) if minutes is not None and 0 <= minutes <= _LONGEST_MINUTES else None
    return Machine(
        id=str(number), label=values.text(row.get("label"), 1024), status=status, ssh=ways[0] if ways else None,
        ssh_also=ways[1:], model_url=_model_url(row) if up and serves else "",
        utilisation=_utilisation(row) if up else None, message=values.text(row.get("status_msg")),
        price_nano_per_hour=values.price(row.get("dph_total")), created_at=values.moment(row.get("start_date")),
        running_s=ran, standby_nano_per_hour=_standby(row), expires_at=values.moment(row.get("end_date")),
    )  # fmt: skip


def status_of(row: Mapping[str, Any]) -> MachineStatus:
    """The machine's state, out of the vendor's four fields for it. An interruptible one that we stopped looks as if its
    owner had taken it back; the engine knows which it asked for."""
    actual, intended, contract, coming = (
        str(row.get(name) or "").strip().lower()
        for name in ("actual_status", "intended_status", "cur_state", "next_state")
    )
    at_rest = "stopped" in (intended, actual) or actual == "exited"
    if row.get("is_bid") is True and contract == coming == "stopped" and at_rest:
        return MachineStatus.PREEMPTED
    if actual == "exited":
        return MachineStatus.STOPPED if intended == "stopped" else MachineStatus.FAILED
    if actual in ("", "created") and _BROKEN in str(row.get("status_msg") or "").lower():
        return MachineStatus.FAILED
    return _STATUS.get(actual, MachineStatus.UNKNOWN)


def _standby(row: Mapping[str, Any]) -> int | None:
    """What it costs while it does not run: all but the GPU's share of its price, which is its storage."""
    total, base = values.price(row.get("dph_total")), values.price(row.get("dph_base"))
    return total - base if total is not None and base is not None and base <= total else None


def _utilisation(row: Mapping[str, Any]) -> Utilisation | None:
    """Unknown without the GPUs' own figure: nobody should take a machine for idle because its CPU is."""
    gpu = _percent(row.get("gpu_util"))
    return None if gpu is None else Utilisation(cpu_percent=_percent(row.get("cpu_util")), gpu_percent=gpu)


def _percent(value: Any) -> float | None:
    """Some figures are -1 while nobody measures them."""
    number = values.decimal(value)
    return float(number) if number is not None and number >= 0 else None


def _model_url(row: Mapping[str, Any]) -> str:
    """Where its image serves, once the port is mapped."""
    where = _endpoint(row.get("public_ipaddr"), _mapped(row.get("ports"), serving.port_of(row)))
    if where is None:
        return ""
    return f"http://{f'[{where.host}]' if ':' in where.host else where.host}:{where.port}/v1"


def _ways_in(row: Mapping[str, Any]) -> tuple[SshEndpoint, ...]:
    """The direct way, where the port is mapped, then the vendor's proxy."""
    direct = _endpoint(row.get("public_ipaddr"), _mapped(row.get("ports"), _SSH_PORT))
    port = values.natural(row.get("ssh_port"), 65_535)
    if port and "jupyter" in str(row.get("image_runtype")):
        port += 1  # the proxy's own port leads to the notebook then
    proxy = _endpoint(row.get("ssh_host"), port)
    return tuple(dict.fromkeys(way for way in (direct, proxy) if way is not None))


def _mapped(ports: Any, inside: int | None) -> int | None:
    """The port of the host that leads to a port of the container."""
    mappings = ports.get(f"{inside}/tcp") if isinstance(ports, dict) else None
    first = mappings[0] if isinstance(mappings, list) and mappings else None
    return values.natural(first.get("HostPort"), 65_535) if isinstance(first, dict) else None


def _endpoint(host: Any, port: int | None) -> SshEndpoint | None:
    name = values.text(host)
    if not port or port > 65_535 or not (_HOST.match(name) or _is_address(name)):
        return None
    return SshEndpoint(name, port, _USER)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
