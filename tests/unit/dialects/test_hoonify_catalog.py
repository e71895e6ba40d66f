"""SKUs, configurations and pools of the Hoonify dialect."""

from __future__ import annotations

import re
from typing import Any

import pytest

from controlplane.api.dialects.hoonify import catalog
from controlplane.domain.errors import FailedPrecondition, InvalidArgument
from controlplane.domain.gpus import GPUS, gpu
from controlplane.domain.offer import Offer, Tier
from controlplane.usecases.offerbook import OfferBook
from tests.support.fakes import START


def offer(id: str, **changes: Any) -> Offer:
    fields: dict[str, Any] = {
        "id": id, "provider": "local", "gpu_type": "H200 SXM", "gpu_count": 8, "vram_gb": 141, "cpu_count": 4,
        "memory_gb": 8, "disk_gb": 100, "region": "eu", "location": "here", "tier": Tier.ON_DEMAND,
        "price_nano_per_hour": 10**9, "currency": "USD", "available": 1, "seen_at": 0,
    } | changes  # fmt: skip
    return Offer(**fields)


@pytest.mark.parametrize(
    ("gpu_type", "sku"),
    [
        ("H200 SXM", "h200-141"),  # the only SKU that the vendor shows
        ("H100 SXM", "h100-80"),
        ("H100 PCIe", "h100-pcie-80"),
        ("H100 NVL", "h100-nvl-94"),
        ("A100 SXM4 80GB", "a100-80"),
        ("A100 SXM4 40GB", "a100-40"),
        ("RTX 4090", "rtx-4090-24"),
        ("cpu", "cpu"),
    ],
)
def test_an_sku_is_name_and_memory(gpu_type: str, sku: str) -> None:
    known = gpu(gpu_type)
    assert catalog.sku_of(gpu_type, known.vram_gb if known else 0) == sku
    assert catalog.gpu_type_of(sku, ()) == gpu_type


def test_every_gpu_has_an_sku_of_its_own() -> None:
    skus = {catalog.sku_of(known.name, known.vram_gb) for known in GPUS}
    assert len(skus) == len(GPUS)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-\d+", sku) for sku in skus)


def test_a_gpu_that_only_an_offer_knows_has_one_too() -> None:
    strange = offer("x", gpu_type="Quantum Leap 3", vram_gb=512)
    assert catalog.sku_of("Quantum Leap 3", 512) == "quantum-leap-3-512"
    assert catalog.gpu_type_of("quantum-leap-3-512", [strange]) == "Quantum Leap 3"


@pytest.mark.parametrize("sku", ["", "h200", "H200-141", "abacus-1"])
def test_an_sku_must_be_in_the_catalogue(sku: str) -> None:
    with pytest.raises(InvalidArgument, match="sku"):
        catalog.gpu_type_of(sku, ())


def test_a_number_of_gpus_must_be_a_configuration() -> None:
    offers = [offer("a", gpu_count=1), offer("b", gpu_count=8), offer("c", gpu_type="H100 SXM", gpu_count=2)]
    assert catalog.check_gpus(8, "h200-141", "H200 SXM", offers) == 8
    with pytest.raises(InvalidArgument, match="configuration of h200-141, which are: 1, 8"):
        catalog.check_gpus(2, "h200-141", "H200 SXM", offers)
    for wrong in (0, 3, 16, -1):
        with pytest.raises(InvalidArgument, match="must be one of 1, 2, 4, 8"):
            catalog.check_gpus(wrong, "h200-141", "H200 SXM", offers)
    # What nobody offers now is a question of capacity.
    assert catalog.check_gpus(2, "b300-288", "B300", offers) == 2


def test_a_cpu_machine_counts_one() -> None:
    offers = [offer("a", gpu_type="cpu", gpu_count=0)]
    assert catalog.check_gpus(1, "cpu", "cpu", offers) == 0
    with pytest.raises(InvalidArgument, match="which are: 1"):
        catalog.check_gpus(2, "cpu", "cpu", offers)


BOOK = OfferBook()
BOOK.update(
    "local",
    (
        offer("apac-cheap", region="apac", price_nano_per_hour=1),
        offer("eu-dear", region="eu", price_nano_per_hour=9),
        offer("eu-fair", region="eu", price_nano_per_hour=5),
        offer("na", region="na", price_nano_per_hour=7),
        offer("here", region="", price_nano_per_hour=8),
        offer("spot", region="na", price_nano_per_hour=2, tier=Tier.SPOT),
        offer("toy", region="na", price_nano_per_hour=3, simulated=True, gpu_count=4),
    ),
    START,
)


@pytest.mark.parametrize(
    ("pool", "widen", "nearest", "tried"),
    [
        ("eu", False, "na", ["eu-fair", "eu-dear"]),  # strict
        ("eu", True, "na", ["eu-fair", "eu-dear", "na", "apac-cheap", "here"]),
        ("", False, "na", ["here", "na", "eu-fair", "eu-dear", "apac-cheap"]),  # the nearest first, not the cheapest
        ("", True, "apac", ["here", "apac-cheap", "na", "eu-fair", "eu-dear"]),
    ],
)
def test_pools(pool: str, widen: bool, nearest: str, tried: list[str]) -> None:
    wanted = catalog.requirements("H200 SXM", 8, pool=pool, widen=widen, nearest=nearest, simulated=None)
    assert [found.id for found in BOOK.matching(wanted, "USD")] == tried, "and nothing that may be taken back"


def test_a_pool_is_one_of_three() -> None:
    with pytest.raises(InvalidArgument, match="pool must be one of na, eu, apac; got 'mars'"):
        catalog.requirements("H200 SXM", 8, pool="mars", widen=False, nearest="na", simulated=None)


def test_test_keys_get_pretended_hardware_only() -> None:
    wanted = catalog.requirements("H200 SXM", 4, pool="", widen=False, nearest="na", simulated=True)
    assert [found.id for found in BOOK.matching(wanted, "USD")] == ["toy"]
    wanted = catalog.requirements("H200 SXM", 8, pool="", widen=False, nearest="na", simulated=True)
    assert BOOK.matching(wanted, "USD") == []


def test_what_is_taken_is_no_capacity() -> None:
    wanted = catalog.requirements("H200 SXM", 8, pool="eu", widen=False, nearest="na", simulated=None)
    catalog.check_capacity("h200-141", 8, wanted, [offer("a", available=0), offer("b")])
    for found in ([], [offer("a", available=0)]):
        with pytest.raises(FailedPrecondition, match="no capacity for 8x h200-141 in pool eu now"):
            catalog.check_capacity("h200-141", 8, wanted, found)
