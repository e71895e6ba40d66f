"""io.net's stock, of VMs and of containers, and what the control surface may change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from random import Random
from typing import Any

from controlplane.simulators.faults import Faults, Misuse
from controlplane.simulators.ionet import catalogue
from controlplane.simulators.ionet.catalogue import LOCATIONS, Hardware, Location
from controlplane.simulators.stock import Stock, raised, usd

_ADDED = frozenset({"product", "name", "gpus", "replicas", "price_usd_per_hour"})


class Product(StrEnum):
    """The two things sold, as they are called in paths."""

    VM = "vmaas"
    CONTAINER = "caas"


class Inventory:
    """Hardware by product and number."""

    def __init__(self, rng: Random, offers: int) -> None:
        self._racks = {
            Product.VM: catalogue.vm_hardware(rng, offers),
            Product.CONTAINER: catalogue.container_hardware(rng, offers),
        }

    def rows(self, product: Product) -> Iterator[tuple[Hardware, Location]]:
        """Every hardware in each of its locations."""
        for item in self._racks[product].values():
            for place in item.replicas:
                yield item, place

    def find(self, product: Product, number: int | str) -> Hardware | None:
        """Hardware by what a deploy calls it."""
        return self._racks[product].get(int(number)) if str(number).isdecimal() else None

    def place(self, item: Hardware, replicas: int, location_id: str | None, now: float) -> Location | None:
        """Where so many replicas are free: in the location asked for, or in the first that has them."""
        places = item.replicas if location_id is None else [item.location(location_id)]
        return next((place for place in places if place and item.replicas[place].free(now) >= replicas), None)

    def lose_to_rival(self, item: Hardware, now: float, faults: Faults) -> None:
        """Somebody else was faster with all of it."""
        for stock in item.replicas.values():
            stock.lose_to_rival(now, faults)

    def raise_prices(self, product: Product, faults: Faults) -> None:
        """What the product costs more from now on."""
        for item in self._racks[product].values():
            item.gpu_nano = raised(item.gpu_nano, faults)

    # What the control surface asks for. An offer is hardware in one location: "<product>/<number>/<location id>".

    def offers_json(self, now: float) -> list[dict[str, Any]]:
        """The offers, each with the price of all its GPUs."""
        return [
            {
                "id": f"{product}/{item.number}/{place.id}",
                "price_usd_per_hour": usd(item.gpu_nano * item.gpus),
                "available": item.replicas[place].free(now),
            }
            for product in Product
            for item, place in self.rows(product)
        ]

    def add(self, values: Mapping[str, Any], usd_per_hour: float) -> str:
        """New hardware in the first location. Raises Misuse."""
        if unknown := set(values) - _ADDED:
            raise Misuse("add", f"may hold {', '.join(sorted(_ADDED))}", sorted(unknown))
        product, name = values.get("product", Product.VM), values.get("name", "A6000")
        if product not in set(Product):
            raise Misuse("add.product", f"must be one of {', '.join(Product)}", product)
        if not isinstance(name, str) or not name:
            raise Misuse("add.name", "must be the name of a GPU", name)
        gpus, replicas = _count(values, "gpus", 8), _count(values, "replicas", 1000)
        rack = self._racks[Product(product)]
        number = max(rack, default=0) + 1
        rack[number] = Hardware(
            number=number, name=name, brand="NVIDIA", gpus=gpus, vram_gb=48, gpu_nano=round(usd_per_hour * 1e9) // gpus,
            vcpu=16 * gpus, memory_gb=64 * gpus, storage_gb=500 * gpus, interconnect="PCIe", nvlink=False,
            supplier="io.net", replicas={LOCATIONS[0]: Stock(replicas)},
        )  # fmt: skip
        return f"{product}/{number}/{LOCATIONS[0].id}"

    def withdraw(self, offer_id: str, now: float, faults: Faults) -> None:
        """Nothing of it is free any more. Raises Misuse."""
        item, place = self._offer(offer_id)
        item.replicas[place].withdraw(now, faults)

    def reprice(self, offer_id: str, usd_per_hour: float) -> None:
        """Another price for all its GPUs, which its hardware then has in every location. Raises Misuse."""
        item, _ = self._offer(offer_id)
        item.gpu_nano = round(usd_per_hour * 1e9) // item.gpus

    def _offer(self, offer_id: str) -> tuple[Hardware, Location]:
        for product in Product:
            for item, place in self.rows(product):
                if offer_id == f"{product}/{item.number}/{place.id}":
                    return item, place
        raise Misuse("id", 'must be the id of an offer, "<product>/<number>/<location id>"', offer_id)


def _count(values: Mapping[str, Any], name: str, most: int) -> int:
    value = values.get(name, 1)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise Misuse(f"add.{name}", f"must be a whole number from 1 to {most}", value)
    return value
