"""What io.net has to rent: hardware for VMs and for containers, each in some locations."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from controlplane.simulators.stock import Stock


@dataclass(frozen=True, slots=True)
class Location:
    """A place, as the marketplace tells it."""

    id: int
    iso2: str
    name: str

    def as_json(self) -> dict[str, object]:
        """Its row."""
        return {"id": self.id, "iso2": self.iso2, "name": self.name}


@dataclass(slots=True)
class Hardware:
    """A row of a hardware listing. `replicas` is how many VMs or containers of it are free in each location."""

    number: int  # what deploy takes: `deploy_id` of a VM row, `hardware_id` of a container row
    name: str
    brand: str
    gpus: int  # of one VM, or the most of one container
    vram_gb: int
    gpu_nano: int  # price of one GPU for an hour
    vcpu: int
    memory_gb: int
    storage_gb: int
    interconnect: str
    nvlink: bool
    supplier: str
    replicas: dict[Location, Stock] = field(default_factory=dict)

    @property
    def display_id(self) -> str:
        """The id that people read."""
        return f"{self.name.lower().replace(' ', '-')}-{self.number}"

    def location(self, location_id: str) -> Location | None:
        """The location with that id, where there is some of this hardware."""
        return next((place for place in self.replicas if str(place.id) == location_id), None)


LOCATIONS = (
    Location(1, "US", "United States"),
    Location(2, "NO", "Norway"),
    Location(3, "DE", "Germany"),
    Location(4, "CA", "Canada"),
    Location(5, "SG", "Singapore"),
    Location(6, "IN", "India"),
    Location(7, "GB", "United Kingdom"),
)
# name, VRAM in GB, nano-dollars per GPU and hour, interconnect, NVLink
_MODELS = (
    ("H100 SXM", 80, 2_190_000_000, "SXM5", True),
    ("H100 PCIe", 80, 1_890_000_000, "PCIe", False),
    ("H200", 141, 2_490_000_000, "SXM5", True),
    ("A100 SXM4", 80, 1_390_000_000, "SXM4", True),
    ("A100 PCIe", 80, 1_190_000_000, "PCIe", False),
    ("A6000", 48, 490_000_000, "PCIe", False),
    ("L40S", 48, 890_000_000, "PCIe", False),
    ("GeForce RTX 4090", 24, 350_000_000, "PCIe", False),
    ("GeForce RTX 3090", 24, 190_000_000, "PCIe", False),
)
_SUPPLIERS = ("io.net", "Verda", "Hyperstack", "DataCrunch")


def vm_hardware(rng: Random, offers: int) -> dict[int, Hardware]:
    """VM hardware by `deploy_id`, for so many offers (pairs of hardware and location); the same for the same seed."""
    return _hardware(rng, offers, first_number=580, sizes=(1, 1, 2, 4, 8))


def container_hardware(rng: Random, offers: int) -> dict[int, Hardware]:
    """Container hardware by `hardware_id`, for so many offers."""
    return _hardware(rng, offers, first_number=200, sizes=(8,))


def _hardware(rng: Random, offers: int, *, first_number: int, sizes: tuple[int, ...]) -> dict[int, Hardware]:
    made: dict[int, Hardware] = {}
    left = offers
    number = first_number
    while left > 0:
        item = _row(rng, number, _MODELS[len(made) % len(_MODELS)], rng.choice(sizes))
        where = rng.sample(LOCATIONS, min(left, rng.randint(1, 3)))
        item.replicas = {location: Stock(rng.randint(1, 4)) for location in where}
        made[number] = item
        left -= len(where)
        number += rng.randint(1, 9)
    return made


def _row(rng: Random, number: int, model: tuple[str, int, int, str, bool], gpus: int) -> Hardware:
    name, vram_gb, nano, interconnect, nvlink = model
    return Hardware(
        number=number, name=name, brand="NVIDIA", gpus=gpus, vram_gb=vram_gb,
        gpu_nano=nano * rng.randint(95, 110) // 100, vcpu=gpus * rng.choice((8, 16, 24)),
        memory_gb=gpus * rng.choice((48, 64, 120)), storage_gb=gpus * rng.choice((200, 500, 1_000)),
        interconnect=interconnect, nvlink=nvlink, supplier=rng.choice(_SUPPLIERS),
    )  # fmt: skip
