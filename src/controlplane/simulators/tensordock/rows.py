"""What TensorDock's API tells of its stock and of machines. Spelling is as mixed as theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from controlplane.simulators.machines import Address
from controlplane.simulators.stock import usd
from controlplane.simulators.tensordock.catalogue import Location, Node
from controlplane.simulators.tensordock.machine import VirtualMachine
from controlplane.simulators.tensordock.orders import SSH_PORT

_VM = "virtualmachine"


def locations(nodes: Iterable[Node], now: float) -> list[dict[str, Any]]:
    """The rows of `GET /locations`: where something is shown as free, which need not be true."""
    shown = sorted((node for node in nodes if node.gpus.listed(now)), key=lambda node: node.offer_id)
    rows = []
    for _, here in groupby(shown, key=lambda node: node.location.id):
        stock = [list(nodes) for _, nodes in groupby(here, key=lambda node: node.gpu.v0_name)]
        rows.append(_location(stock[0][0].location, [_gpu(nodes, now) for nodes in stock]))
    return rows


def hostnode(node: Node, now: float) -> dict[str, Any]:
    """A row of `GET /hostnodes`; its fields are only partly documented."""
    gpu = {"v0Name": node.gpu.v0_name, "availableCount": node.gpus.listed(now), "price_per_hr": usd(node.gpu_nano)}
    return {
        "id": node.id,
        "location_id": node.location.id,
        "available_resources": {
            "gpus": [gpu],
            "vcpu_count": node.vcpus,
            "ram_gb": node.ram_gb,
            "storage_gb": node.storage_gb,
            "available_ports": list(node.ports),
            "has_public_ip_available": node.public_ips > 0,
        },
        "pricing": _pricing(node.location),
        "location": {"city": node.location.city, "country": node.location.country},
    }


def instance(machine: VirtualMachine, status: str, address: Address | None) -> dict[str, Any]:
    """`GET /instances/{id}`: flat. `address`: where its SSH really is, once that is told.

    A machine here stands on a port of its own even where it was given a dedicated address; a forward of port 22 says
    which.
    """
    forwards = [{"internal_port": one.internal_port, "external_port": one.external_port} for one in machine.forwards]
    if address is not None and address.port != SSH_PORT:
        forwards = [forward for forward in forwards if forward["internal_port"] != SSH_PORT]
        forwards.insert(0, {"internal_port": SSH_PORT, "external_port": address.port})
    row: dict[str, Any] = {"type": _VM, "id": machine.id, "name": machine.label, "status": status}
    if address is not None:
        row["ipAddress"] = address.host
    row |= {
        "portForwards": forwards,
        "rateHourly": usd(machine.storage_nano if status.startswith("Stopped") else machine.full_nano),
    }
    return row


def _flat(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"data": list(rows)}


def _wrapped(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"data": {"instances": _resources(rows)}}


def _nested(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"data": {"type": "list", "attributes": {"instances": _resources(rows)}}}


def _resources(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The documented list tells no more than name and status."""
    return [
        {"type": row["type"], "id": row["id"], "attributes": {"name": row["name"], "status": row["status"]}}
        for row in rows
    ]


LIST_FORMS: dict[str, Callable[[Sequence[dict[str, Any]]], dict[str, Any]]] = {
    "flat": _flat, "wrapped": _wrapped, "nested": _nested,
}  # fmt: skip


def created(machine: VirtualMachine) -> dict[str, Any]:
    """The answer to a create: no address, and a status that is not true yet."""
    return {"data": {"type": _VM, "id": machine.id, "name": machine.label, "status": "running"}}


def transition(machine: VirtualMachine, status: str) -> dict[str, Any]:
    """The answer to a start, a stop or a change."""
    return {"data": {"type": _VM, "id": machine.id, "attributes": {"name": machine.label, "status": status}}}


def _location(place: Location, gpus: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": place.id, "city": place.city, "stateprovince": place.state, "country": place.country,
        "tier": place.tier, "gpus": gpus,
    }  # fmt: skip


def _gpu(nodes: Sequence[Node], now: float) -> dict[str, Any]:
    """One GPU model of a location, over the nodes that have it."""
    return {
        "v0Name": nodes[0].gpu.v0_name,
        "displayName": nodes[0].gpu.display_name,
        "max_count": max(node.gpus.listed(now) for node in nodes),
        "price_per_hr": usd(nodes[0].gpu_nano),
        "resources": {
            "max_vcpus": max(node.vcpus for node in nodes),
            "max_ram_gb": max(node.ram_gb for node in nodes),
            "max_storage_gb": max(node.storage_gb for node in nodes),
        },
        "pricing": _pricing(nodes[0].location),
        "network_features": {
            "dedicated_ip_available": any(node.public_ips for node in nodes),
            "port_forwarding_available": any(node.ports for node in nodes),
            "network_storage_available": False,
        },
    }


def _pricing(place: Location) -> dict[str, Any]:
    return {
        "per_vcpu_hr": usd(place.vcpu_nano),
        "per_gb_ram_hr": usd(place.ram_gb_nano),
        "per_gb_storage_hr": usd(place.storage_gb_nano),
    }
