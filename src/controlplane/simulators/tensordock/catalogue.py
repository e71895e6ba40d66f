"""What TensorDock has to rent: locations, and the host nodes in them that the stock really stands on."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from controlplane.simulators.stock import Stock


@dataclass(frozen=True, slots=True)
class GpuModel:
    """A GPU as the marketplace names it; its memory is only in the name."""

    v0_name: str
    display_name: str
    nano_per_hour: int  # of one, in a location of tier 2


@dataclass(frozen=True, slots=True)
class Location:
    """A data centre. Prices are nano-dollars per hour, of one unit each."""

    id: str
    city: str
    state: str
    country: str
    tier: int  # 1 to 3, higher is better
    vcpu_nano: int
    ram_gb_nano: int
    storage_gb_nano: int


@dataclass(slots=True)
class Node:
    """A host in a location, with GPUs of one model. Sizes are what is free: less with each machine placed on it."""

    id: str
    location: Location
    gpu: GpuModel
    gpu_nano: int  # price per hour of one GPU here
    gpus: Stock
    vcpus: int
    ram_gb: int
    storage_gb: int
    public_ips: int
    ports: list[int]  # host ports that may be forwarded

    @property
    def offer_id(self) -> str:
        """What the control surface calls the stock of this GPU in this location."""
        return f"{self.location.id}/{self.gpu.v0_name}"


MODELS = (
    GpuModel("geforcertx4090-pcie-24gb", "NVIDIA GeForce RTX 4090 PCIe 24GB", 350_000_000),
    GpuModel("geforcertx3090-pcie-24gb", "NVIDIA GeForce RTX 3090 PCIe 24GB", 210_000_000),
    GpuModel("rtxa6000-pcie-48gb", "NVIDIA RTX A6000 PCIe 48GB", 450_000_000),
    GpuModel("rtxa4000-pcie-16gb", "NVIDIA RTX A4000 PCIe 16GB", 105_000_000),
    GpuModel("l40-pcie-48gb", "NVIDIA L40 PCIe 48GB", 950_000_000),
    GpuModel("a100-pcie-80gb", "NVIDIA A100 PCIe 80GB", 1_500_000_000),
    GpuModel("a100-sxm4-80gb", "NVIDIA A100 SXM4 80GB", 1_800_000_000),
    GpuModel("h100-sxm5-80gb", "NVIDIA H100 SXM5 80GB", 2_250_000_000),
    GpuModel("v100-sxm2-16gb", "NVIDIA V100 SXM2 16GB", 220_000_000),
)
_PLACES = (
    ("Chubbuck", "Idaho", "United States", 2),
    ("Dallas", "Texas", "United States", 3),
    ("Manassas", "Virginia", "United States", 3),
    ("Toronto", "Ontario", "Canada", 2),
    ("Frankfurt", "Hesse", "Germany", 3),
    ("Manchester", "England", "United Kingdom", 2),
    ("Oslo", "Oslo", "Norway", 2),
    ("Chennai", "Tamil Nadu", "India", 1),
    ("Singapore", "Singapore", "Singapore", 3),
    ("Sydney", "New South Wales", "Australia", 2),
)
_SIZES = (1, 2, 4, 8)
_TIER_PERCENT = {1: 85, 2: 100, 3: 120}
_PORTS_PER_NODE = 40


def locations(rng: Random) -> Sequence[Location]:
    """All of them, whether or not there is anything to rent."""
    return [
        Location(
            id=new_uuid(rng), city=city, state=state, country=country, tier=tier,
            vcpu_nano=3_000_000, ram_gb_nano=2_000_000, storage_gb_nano=50_000,
        )
        for city, state, country, tier in _PLACES
    ]  # fmt: skip


def stock(rng: Random, places: Sequence[Location], offers: int) -> list[Node]:
    """Nodes for so many pairs of location and GPU, the same for the same seed. Every third pair stands on two nodes;
    with more offers than pairs the later ones add nodes to a pair.
    """
    pairs = [(location, model, _gpu_nano(rng, location, model)) for location in places for model in MODELS]
    rng.shuffle(pairs)
    nodes = []
    for number in range(offers):
        for _ in range(2 if number % 3 == 0 else 1):
            nodes.append(_node(rng, *pairs[number % len(pairs)]))
    return nodes


def _gpu_nano(rng: Random, location: Location, model: GpuModel) -> int:
    return model.nano_per_hour * (_TIER_PERCENT[location.tier] + rng.randint(-8, 8)) // 100


def _node(rng: Random, location: Location, model: GpuModel, gpu_nano: int) -> Node:
    gpus = rng.choice(_SIZES)
    first_port = rng.randrange(20_000, 60_000, 100)
    return Node(
        id=new_uuid(rng), location=location, gpu=model, gpu_nano=gpu_nano, gpus=Stock(gpus),
        vcpus=max(16, gpus * rng.choice((8, 16, 24))), ram_gb=max(64, gpus * rng.choice((32, 64, 96))),
        storage_gb=rng.randrange(1_000, 12_000, 250), public_ips=rng.randint(2, 12),
        ports=list(range(first_port, first_port + _PORTS_PER_NODE)),
    )  # fmt: skip


def new_uuid(rng: Random) -> str:
    """A random UUID from a seeded source."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
