"""TensorDock's stock: which node a machine goes to, and what the control surface may change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

from controlplane.simulators.faults import Faults, Misuse
from controlplane.simulators.stock import Stock, raised, usd
from controlplane.simulators.tensordock.answers import NO_ADDRESSES, NO_NODES
from controlplane.simulators.tensordock.catalogue import MODELS, Node, locations, new_uuid, stock
from controlplane.simulators.tensordock.orders import Order

_ADDED = frozenset({"gpu", "gpus", "price_usd_per_hour"})


class NoRoom(Exception):
    """An order that cannot be placed, in the marketplace's words."""


class Inventory:
    """The nodes. What they have free changes with every rental."""

    def __init__(self, rng: Random, offers: int) -> None:
        self._rng = rng
        self._places = locations(rng)
        self.nodes = stock(rng, self._places, offers)

    def place(self, order: Order, now: float) -> Node:
        """The node that an order goes to. Raises NoRoom."""
        able = [node for node in self.nodes if _asked_for(node, order) and _fits(node, order, now)]
        if not able:
            raise NoRoom(NO_NODES)
        if order.use_dedicated_ip:
            able = [node for node in able if node.public_ips > 0]
        if not able:
            raise NoRoom(NO_ADDRESSES)
        return able[0]

    def take(self, node: Node, order: Order, now: float, faults: Faults) -> None:
        """A machine is placed."""
        node.gpus.take(order.gpu_count, now, faults)
        _resize(node, order, -1)

    def give_back(self, node: Node, order: Order) -> None:
        """A machine is gone."""
        node.gpus.give(order.gpu_count)
        _resize(node, order, 1)

    def lose_to_rival(self, order: Order, now: float, faults: Faults) -> None:
        """Somebody else was faster with all that the order could have had."""
        for node in self.nodes:
            if _asked_for(node, order):
                node.gpus.lose_to_rival(now, faults)

    def raise_prices(self, faults: Faults) -> None:
        """GPUs cost more from now on."""
        for node in self.nodes:
            node.gpu_nano = raised(node.gpu_nano, faults)

    def node(self, node_id: str) -> Node | None:
        """The host node with that id."""
        return next((node for node in self.nodes if node.id == node_id), None)

    # What the control surface asks for. An offer is one GPU model in one location: "<location id>/<v0Name>".

    def offers_json(self, now: float) -> list[dict[str, Any]]:
        """The offers, each with the price of one GPU alone."""
        prices: dict[str, int] = {}
        free: Counter[str] = Counter()
        for node in self.nodes:
            prices[node.offer_id] = node.gpu_nano
            free[node.offer_id] += node.gpus.free(now)
        return [
            {"id": offer_id, "price_usd_per_hour": usd(nano), "available": free[offer_id]}
            for offer_id, nano in prices.items()
        ]

    def add(self, values: Mapping[str, Any], usd_per_hour: float) -> str:
        """One more node, in the first location. Raises Misuse."""
        if unknown := set(values) - _ADDED:
            raise Misuse("add", f"may hold {', '.join(sorted(_ADDED))}", sorted(unknown))
        model = next((model for model in MODELS if model.v0_name == values.get("gpu")), None)
        if model is None:
            raise Misuse("add.gpu", f"must be one of {', '.join(model.v0_name for model in MODELS)}", values.get("gpu"))
        gpus = values.get("gpus", 1)
        if not isinstance(gpus, int) or isinstance(gpus, bool) or not 1 <= gpus <= 64:
            raise Misuse("add.gpus", "must be a whole number from 1 to 64", gpus)
        node = Node(
            id=new_uuid(self._rng), location=self._places[0], gpu=model, gpu_nano=round(usd_per_hour * 1e9),
            gpus=Stock(gpus), vcpus=32 * gpus, ram_gb=128 * gpus, storage_gb=4000, public_ips=8, ports=[],
        )  # fmt: skip
        self.nodes.append(node)
        self.reprice(node.offer_id, usd_per_hour)
        return node.offer_id

    def withdraw(self, offer_id: str, now: float, faults: Faults) -> None:
        """Nothing of it is free any more. Raises Misuse."""
        for node in self._of(offer_id):
            node.gpus.withdraw(now, faults)

    def reprice(self, offer_id: str, usd_per_hour: float) -> None:
        """Another price for one of its GPUs. Raises Misuse."""
        for node in self._of(offer_id):
            node.gpu_nano = round(usd_per_hour * 1e9)

    def _of(self, offer_id: str) -> list[Node]:
        nodes = [node for node in self.nodes if node.offer_id == offer_id]
        if not nodes:
            raise Misuse("id", 'must be the id of an offer, "<location id>/<v0Name>"', offer_id)
        return nodes


def _asked_for(node: Node, order: Order) -> bool:
    if order.hostnode_id is not None:
        return node.id == order.hostnode_id
    return node.location.id == order.location_id and node.gpu.v0_name == order.gpu


def _fits(node: Node, order: Order, now: float) -> bool:
    size = order.resources
    right_gpu = order.gpu in ("", node.gpu.v0_name)
    room = node.vcpus >= size.vcpu_count and node.ram_gb >= size.ram_gb and node.storage_gb >= size.storage_gb
    asked = {forward.external_port for forward in order.port_forwards}
    ports = order.use_dedicated_ip or order.hostnode_id is None or asked <= set(node.ports)
    return right_gpu and room and ports and node.gpus.free(now) >= order.gpu_count


def _resize(node: Node, order: Order, sign: int) -> None:
    """What the order takes from the node (-1) or gives back (+1), beside GPUs."""
    node.vcpus += sign * order.resources.vcpu_count
    node.ram_gb += sign * order.resources.ram_gb
    node.storage_gb += sign * order.resources.storage_gb
    node.public_ips += sign * order.use_dedicated_ip
    asked = {forward.external_port for forward in order.port_forwards}
    node.ports = sorted(set(node.ports) | asked) if sign > 0 else [port for port in node.ports if port not in asked]
