"""What a purchase at TensorDock says, and what its answer means."""

from __future__ import annotations

import re
import shlex
from typing import Any

from controlplane.adapters.providers.http import Answer
from controlplane.adapters.providers.http.keys import authorized_lines
from controlplane.adapters.providers.http.outcomes import refused
from controlplane.adapters.providers.http.values import identifier
from controlplane.adapters.providers.tensordock.access import status_of
from controlplane.adapters.providers.tensordock.placements import LEAST_STORAGE_GB, Placement
from controlplane.domain.instance import Wish
from controlplane.ports.provider import Created, LaunchMode, LaunchOutcome, LaunchSpec

USER = "user"  # who logs in; may use sudo
IMAGE = "ubuntu2204"

_STOCK_WORDS = (
    "no available", "not available", "out of stock", "no capacity", "insufficient capacity", "insufficient resources",
)  # fmt: skip
_IMAGE = re.compile(r"[a-z0-9._-]{1,60}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENV_FILE = "/etc/profile.d/gpuplane.sh"


def refusal(wish: Wish | LaunchSpec) -> str:
    """Why no machine of TensorDock can be what is asked for; empty if one can."""
    if wish.mode == LaunchMode.MODEL:
        return "TensorDock rents machines with SSH; it serves no models"
    if wish.template:
        return "TensorDock has no templates"
    if wish.image and not _IMAGE.fullmatch(wish.image):
        return f"TensorDock runs operating system images such as {IMAGE}, not container images"
    if any(not _VARIABLE.fullmatch(name) or "\0" in value for name, value in wish.env.items()):
        return "an environment variable has a name that no shell takes, or holds a zero byte"
    return ""


def storage_gb(spec: LaunchSpec) -> int:
    """The disk that is bought: what was asked for, or else the least there is."""
    return max(LEAST_STORAGE_GB, spec.disk_gb)


def body(spec: LaunchSpec, placement: Placement) -> dict[str, Any]:
    """The request. A machine gets an address of its own: forwarded ports were ignored at some locations."""
    attributes = {
        "name": spec.label,
        "type": "virtualmachine",
        "image": spec.image or IMAGE,
        "location_id": placement.location_id,
        "resources": {
            "vcpu_count": placement.offer.cpu_count,
            "ram_gb": placement.offer.memory_gb,
            "storage_gb": storage_gb(spec),
            "gpus": {placement.gpu: {"count": placement.offer.gpu_count}},
        },
        "useDedicatedIp": True,
        "ssh_key": next(iter(spec.authorized_keys), spec.probe_key),  # required, and not known to have any effect
        "cloud_init": {"package_update": False, "runcmd": commands(spec)},
    }
    return {"data": {"type": "virtualmachine", "attributes": attributes}}


def commands(spec: LaunchSpec) -> list[str]:
    """Shell commands of the first boot, run by root: keys first, so that nothing that follows keeps anybody out.

    Keys are written by commands because the request's own fields did not install them. Variables are seen by login
    shells and by the start command.
    """
    lines = " ".join(shlex.quote(line) for line in authorized_lines(spec.authorized_keys, spec.probe_key))
    done = [
        *(command for home in ("/root", f"/home/{USER}") for command in (
            f"mkdir -p {home}/.ssh",
            f"printf '%s\\n' {lines} > {home}/.ssh/authorized_keys",
            f"chmod 700 {home}/.ssh && chmod 600 {home}/.ssh/authorized_keys",
        )),
        f"chown -R {USER}:{USER} /home/{USER}/.ssh",
    ]  # fmt: skip
    if spec.env:
        exports = " ".join(shlex.quote(f"export {name}={shlex.quote(value)}") for name, value in spec.env.items())
        done.append(f"printf '%s\\n' {exports} > {_ENV_FILE}")
    if spec.on_start:
        begin = f". {_ENV_FILE}; " if spec.env else ""
        done.append(f"sh -c {shlex.quote(begin + spec.on_start)}")
    return done


def outcome(answer: Answer, price_nano: int) -> LaunchOutcome:
    """What the answer to a purchase at that price means. Errors come as 200 with a status inside, as arrays and as
    JSON:API."""
    status = status_of(answer)
    data = answer.value.get("data") if isinstance(answer.value, dict) else None
    machine_id = identifier(data.get("id")) if isinstance(data, dict) else ""
    if status < 300 and machine_id:
        return Created(machine_id, answer.sent_at, price_nano)
    if status < 300 and isinstance(answer.value, list) and answer.reason:
        status = 400  # what is wrong with the request, told before any work
    if status < 300 and answer.says(*_STOCK_WORDS):
        status = 400
    return refused(answer, status, _STOCK_WORDS)
