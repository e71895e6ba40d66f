"""What io.net's API tells of hardware, prices and deployments."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from controlplane.simulators.ionet.catalogue import Hardware, Location
from controlplane.simulators.ionet.deployment import Deployment
from controlplane.simulators.ionet.orders import ContainerOrder, NetworkService, VmOrder
from controlplane.simulators.machines import Address
from controlplane.simulators.stock import usd

SSH_USER = "ubuntu"
_HEALTHY = "healthy"


def vm_hardware(item: Hardware, place: Location) -> dict[str, Any]:
    """A row of vmaas `GET /hardware`: one per location, listed whether or not anything is free."""
    return {
        "id": item.display_id, "deploy_id": item.number, "name": item.name, "num_cards": item.gpus,
        "supplier": item.supplier, "price": usd(item.gpu_nano), "vram_per_card": item.vram_gb,
        "interconnect": item.interconnect, "nvlink": item.nvlink, "storage": item.storage_gb, "vcpu": item.vcpu,
        "memory": item.memory_gb, "location": place.name,
    }  # fmt: skip


def container_hardware(item: Hardware, place: Location, now: float) -> dict[str, Any]:
    """A row of caas `GET /hardware`. `network` is a number there, too."""
    free = item.replicas[place].listed(now)
    return {
        "hardware_id": item.number, "hardware_name": item.name, "brand_name": item.brand, "location": place.name,
        "price": usd(item.gpu_nano), "available": free * item.gpus, "network": free,
        "max_gpus_per_container": item.gpus, "min_gpus_per_container": None, "confidential_compute": False,
    }  # fmt: skip


def availability(item: Hardware, now: float) -> list[dict[str, Any]]:
    """`GET /available-vms`: by location."""
    return [{**place.as_json(), "available_replicas": stock.listed(now)} for place, stock in item.replicas.items()]


def quote(cost_nano: int, replicas: int, gpus_key: str, gpus: int, free: int) -> dict[str, Any]:
    """`GET /price`. The fees are nothing here."""
    return {
        "replica_count": replicas, gpus_key: gpus, "available_replica_count": list(range(1, free + 1)),
        "discount": 0, "ionet_fee": 0, "ionet_fee_percent": 0, "currency_conversion_fee": 0,
        "currency_conversion_fee_percent": 0, "total_cost_usdc": usd(cost_nano),
        "min_non_promotional_credits_required": 0,
    }  # fmt: skip


def summary(deployment: Deployment, now: float) -> dict[str, Any]:
    """A row of `GET /deployments`: the only place that tells the name, and it tells no money."""
    served_min = int(deployment.served_s(now) // 60)
    bought_min = deployment.hours * 60
    return {
        "id": deployment.id, "status": deployment.status(now), "name": deployment.label,
        "completed_percent": round(100 * served_min / bought_min, 2),
        "hardware_quantity": deployment.order.gpus, "hardware_name": deployment.hardware.name,
        "brand_name": deployment.hardware.brand, "compute_minutes_served": served_min,
        "compute_minutes_remaining": 0 if deployment.final else bought_min - served_min,
    }  # fmt: skip


def details(deployment: Deployment, now: float, skew_s: float) -> dict[str, Any]:
    """`GET /deployment/{id}`: everything but the name."""
    common = {key: value for key, value in summary(deployment, now).items() if key != "name"}
    started = not deployment.stuck and now >= deployment.up_at and deployment.served_s(now) > 0
    return {
        **common,
        "created_at": iso(deployment.created_at, skew_s),
        "started_at": iso(deployment.up_at, skew_s) if started else None,
        "finished_at": None if deployment.ended_at is None else iso(deployment.ended_at, skew_s),
        "amount_paid": usd(deployment.billed_nano),
        "total_gpus": deployment.order.gpus,
        "hardware_id": deployment.hardware.number,
        "locations": [deployment.place.as_json()],
        **(_vm(deployment.order) if isinstance(deployment.order, VmOrder) else _containers(deployment.order)),
    }


def vms(deployment: Deployment, now: float, skew_s: float, address: Address | None) -> list[dict[str, Any]]:
    """`GET /deployment/{id}/vms`: one. `address`: where its SSH is, once that is told."""
    if not isinstance(deployment.order, VmOrder):
        return []
    services = deployment.order.network_services
    return [
        {
            **_worker(deployment, now, skew_s, "vm_id"),
            "gpus_per_vm": deployment.order.gpus_per_vm,
            "vm_events": _events(deployment, now, skew_s),
            "network_services": {name: _service(service, address) for name, service in services.items()} or None,
            "ssh_access": None if address is None else f"ssh {SSH_USER}@{address.host} -p {address.port}",
            "is_external": False,
        }
    ]


def containers(deployment: Deployment, now: float, skew_s: float, *, reachable: bool) -> list[dict[str, Any]]:
    """`GET /deployment/{id}/containers`. The URL comes when the network's own check has passed."""
    if not isinstance(deployment.order, ContainerOrder):
        return []
    health = _HEALTHY if reachable else None
    found = []
    for number in range(deployment.replicas):
        worker = _worker(deployment, now, skew_s, "container_id", number)
        url = f"https://{worker['container_id']}.containers.example.net"
        found.append(
            {
                **worker,
                "allocation_id": worker["device_id"],
                "gpus_per_container": deployment.order.gpus_per_container,
                "public_url": url if reachable else None,
                "container_events": _events(deployment, now, skew_s),
                "connect_check_status": health, "external_check_status": health, "internal_check_status": health,
                "deployment_health": health,
            }
        )  # fmt: skip
    return found


def log_stream(lines: list[str]) -> bytes:
    """A container's log as server-sent events; there are no ids, so that a reader cannot resume."""
    events = [f"data: {line}\n\n" for line in lines]
    return "".join([*events, "event: complete\ndata: stream ended\n\n"]).encode()


def iso(at: float, skew_s: float) -> str:
    """A time as the API tells it."""
    return datetime.fromtimestamp(at + skew_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _vm(order: VmOrder) -> dict[str, Any]:
    return {
        "gpus_per_vm": order.gpus_per_vm, "total_vms": 1, "ssh_keys": dict(order.ssh_keys),
        "github_ids": list(order.github_ids),
    }  # fmt: skip


def _containers(order: ContainerOrder) -> dict[str, Any]:
    """A container deployment's own members: environment in clear, of secrets the names alone."""
    config: Mapping[str, Any] = order.container_config.model_dump(exclude={"secret_env_variables"})
    return {
        "gpus_per_container": order.gpus_per_container, "total_containers": order.container_config.replica_count,
        "is_cc": False,
        "container_config": {
            **config, "image_url": order.registry_config.image_url,
            "secret_env_keys": sorted(order.container_config.secret_env_variables),
        },
    }  # fmt: skip


def _worker(deployment: Deployment, now: float, skew_s: float, id_key: str, number: int = 0) -> dict[str, Any]:
    lost = deployment.away(now)
    return {
        id_key: str(uuid.uuid5(uuid.NAMESPACE_OID, f"{deployment.id}/{number}")),
        "device_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{deployment.hardware.number}/{deployment.place.id}")),
        "hardware": deployment.hardware.name,
        "brand_name": deployment.hardware.brand,
        "created_at": iso(deployment.created_at, skew_s),
        "uptime_percent": 0 if lost else 100,
        "status": deployment.lost_form if lost and not deployment.final else deployment.status(now),
    }


def _service(service: NetworkService, address: Address | None) -> dict[str, Any]:
    """A port as it was ordered, and how to reach it once the VM is up."""
    return {
        **service.model_dump(),
        "public_port": None if address is None else service.port,
        "public_ip": None if address is None else address.host,
        "srv_record": None,
    }


def _events(deployment: Deployment, now: float, skew_s: float) -> list[dict[str, Any]] | None:
    """What has happened so far; null rather than an empty list."""
    happened = [(deployment.created_at, "Deployment requested")]
    if not deployment.stuck:
        happened.append((deployment.ready_at, "Running"))
    events = [{"time": iso(at, skew_s), "message": words} for at, words in happened if at < now]
    return events or None
