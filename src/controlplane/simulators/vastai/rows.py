"""An instance as Vast.ai's API tells it."""

from __future__ import annotations

from typing import Any

from controlplane.simulators.faults import Faults
from controlplane.simulators.machines import Address, Tenancy
from controlplane.simulators.vastai import asks, entrypoint
from controlplane.simulators.vastai.contract import Contract

_CLOSED_PORT = 1  # refuses connections on any host
_FIRST_OPEN_PORT = 41_022
_ORPHAN_FACTS = {
    "gpu_name": "RTX 4090",
    "num_gpus": 1,
    "gpu_ram": 24_564,
    "reliability2": 0.99,
    "geolocation": "Oslo, NO",
}


def instance_row(contract: Contract, now: float, faults: Faults, place: Address | None) -> dict[str, Any]:
    """All columns; `ports` is left out until it is running, as clients trip over a null."""
    order, ask = contract.order, contract.ask
    current, following = contract.contract_state(now)
    row: dict[str, Any] = {
        **(asks.hardware(ask) if ask else _ORPHAN_FACTS),
        "id": int(contract.id),
        "label": contract.label or None,
        "machine_id": ask.machine_id if ask else 1,
        "host_id": ask.host_id if ask else 1,
        "verification": ask.verification if ask else "verified",
        "actual_status": contract.status(now),
        "intended_status": contract.intended_at(now),
        "cur_state": current,
        "next_state": following,
        "status_msg": contract.message(now),
        "image_uuid": order.get("image") or "",
        "image_runtype": runtype(contract),
        "image_args": order.get("args") or [],
        "onstart": order.get("onstart"),
        "template_hash_id": order.get("template_hash_id"),
        "extra_env": [[name, str(value)] for name, value in (order.get("env") or {}).items()],
        "volume_info": [],
        "disk_space": contract.disk_gb,
        "disk_usage": -1,
        "disk_util": -1,
        **_use(contract, now, faults),
        "gpu_temp": 38.0,
        "dph_base": contract.gpu_nano / 1e9,
        "dph_total": (contract.gpu_nano + contract.disk_nano) / 1e9,
        "storage_total_cost": contract.disk_nano / 1e9,
        "is_bid": contract.bid,
        "min_bid": ask.min_bid_nano / 1e9 if ask else 0.0,
        "start_date": contract.created_at + faults.clock_skew_s,
        "end_date": contract.created_at + (ask.duration_s if ask else 86_400.0) + faults.clock_skew_s,
        "uptime_mins": contract.running_s(now) / 60,
        "jupyter_token": None,
        "local_ipaddrs": "172.17.0.2 \n",
    }
    return {**row, **_ways_in(contract, now, faults, place)}


def runtype(contract: Contract) -> str:
    """How the container is started; the short documented words mean the composites that clients send."""
    wanted = str(contract.order.get("runtype") or "ssh_proxy")
    return {"ssh_direct": "ssh_direc ssh_proxy", "ssh": "ssh_proxy"}.get(wanted, wanted)


def has_ssh(contract: Contract) -> bool:
    """Whether it has an SSH server: every runtype gives one but args."""
    return runtype(contract) != entrypoint.RUNTYPE


def tenancy(contract: Contract, now: float, faults: Faults) -> Tenancy:
    """Who can log in now, or what is served."""
    up_since, lost = contract.up_since(now), contract.lost.holds(now) or contract.rebooting.holds(now)
    opens_at = None if up_since is None else up_since + faults.ports_after_s + faults.ssh_after_s
    listening = opens_at is not None and now >= opens_at and not lost
    if not has_ssh(contract):
        service = entrypoint.service_of(contract.order)
        return Tenancy(contract.id, "root", (), listening, contract.version, service)
    keys: tuple[str, ...] = ()
    if opens_at is not None and listening:
        added = contract.key_times
        keys = tuple(key for key in contract.keys if now >= max(opens_at, added.get(key, 0)) + faults.keys_after_s)
    return Tenancy(contract.id, "root", keys, listening, contract.version)


def _use(contract: Contract, now: float, faults: Faults) -> dict[str, float]:
    """How busy it is, which nobody measures while it does not run."""
    percent = faults.utilisation_percent if contract.up_since(now) is not None else -1.0
    return {"gpu_util": percent, "cpu_util": percent}


def _proxy(contract: Contract, place: Address | None) -> dict[str, Any]:
    """Shown for every instance; behind that of one without SSH is nobody."""
    offset = 1 if "jupyter" in runtype(contract) else 0  # clients add one to the proxy's port then
    if place is None:
        return {"ssh_host": "ssh6.vast.ai", "ssh_port": 10_000 + int(contract.id) % 20_000 - offset, "ssh_idx": "6"}
    port = place.port if has_ssh(contract) else _CLOSED_PORT
    return {"ssh_host": place.host, "ssh_port": port - offset, "ssh_idx": "6"}


def _ways_in(contract: Contract, now: float, faults: Faults, place: Address | None) -> dict[str, Any]:
    """The proxy from the start, the direct ports once it is up."""
    ways = {**_proxy(contract, place), "public_ipaddr": None}
    up_since = contract.up_since(now)
    if place is None or up_since is None or now < up_since + faults.ports_after_s:
        return ways
    ports: dict[str, Any] = {}
    if "direc" in runtype(contract):
        ports["22/tcp"] = _mapping(_CLOSED_PORT if contract.direct_blocked else place.port)
    published = _published(contract.order.get("env") or {})
    served = "" if has_ssh(contract) else entrypoint.served_port(contract.order, published)
    for number, inside in enumerate(published):
        ports[inside] = _mapping(place.port if inside == served else _FIRST_OPEN_PORT + number)
    return {**ways, "public_ipaddr": f"{place.host}\n", "ports": ports}


def _mapping(port: int) -> list[dict[str, str]]:
    return [{"HostIp": "0.0.0.0", "HostPort": str(port)}]


def _published(env: dict[str, Any]) -> list[str]:
    """The inner ports that `-p outer:inner[/udp]` keys open, as docker names them."""
    found = []
    for name in env:
        if name.startswith("-p "):
            inside, _, protocol = name[3:].strip().rpartition(":")[2].partition("/")
            found.append(f"{inside}/{protocol or 'tcp'}")
    return found
