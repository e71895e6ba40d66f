"""What the local provider offers, and how it reads sightings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.adapters.providers.local import LocalSettings, catalogue, view
from controlplane.adapters.providers.local.gpus import GpuKind
from controlplane.domain.gpus import gpu
from controlplane.domain.offer import Tier
from controlplane.ports.provider import MachineStatus
from controlplane.sandbox.machines import Sighting
from controlplane.sandbox.records import Record

SETTINGS = LocalSettings(Path("/nowhere"), "host-1", cpu_count=2, memory_mb=2048)


def test_a_host_without_gpu_offers_its_processors() -> None:
    (offer,) = catalogue.offers(SETTINGS, (), 5, 7)
    assert (offer.id, offer.gpu_type, offer.gpu_count, offer.available) == ("local-cpu", "cpu", 0, 5)
    assert (offer.cpu_count, offer.memory_gb, offer.simulated, offer.host_id) == (2, 2, False, "host-1")


def test_pretend_offers() -> None:
    offers = catalogue.offers(replace(SETTINGS, simulated=True), (), 5, 7)[1:]
    assert len(offers) == len({offer.id for offer in offers}) == 5 * 4 * 3 * 2
    by_id = {offer.id: offer for offer in offers}
    assert {"local-h100-sxm-8x-na-spot", "local-rtx-4090-1x-eu-on-demand", "local-l40s-2x-apac-spot"} <= set(by_id)
    for offer in offers:
        known = gpu(offer.gpu_type)
        assert known is not None
        assert offer.vram_gb == known.vram_gb
        assert offer.simulated
        assert offer.available == 5
    spot, firm = by_id["local-h100-sxm-8x-na-spot"], by_id["local-h100-sxm-8x-na-on-demand"]
    assert spot.price_nano_per_hour < firm.price_nano_per_hour == 19_920_000_000
    assert (spot.tier, spot.region, spot.gpu_count) == (Tier.SPOT, "na", 8)


def test_real_gpus_replace_the_processor_offer() -> None:
    kinds = (GpuKind("L40S", "l40s", 48, 12.8, 2, (1,)),)
    offers = catalogue.offers(SETTINGS, kinds, 5, 7)
    assert [(offer.id, offer.available) for offer in offers] == [("local-l40s-1x", 1), ("local-l40s-2x", 0)]
    assert not any(offer.simulated for offer in offers)


def test_never_less_than_none() -> None:
    assert catalogue.offers(SETTINGS, (), -3, 7)[0].available == 0


RECORD = Record("gp-d-i-1", 1_000_000, "ssh-ed25519 AAAA", 1022, 0, True, {}, pid=5)


@pytest.mark.parametrize(
    ("sighting", "answered", "now", "status"),
    [
        (Sighting("l", RECORD, True, None), False, 2_000_000, MachineStatus.STARTING),
        (Sighting("l", RECORD, True, None), True, 2_000_000, MachineStatus.RUNNING),
        (Sighting("l", RECORD, True, None), False, 90_000_000, MachineStatus.RUNNING),
        (Sighting("l", RECORD, False, None), True, 2_000_000, MachineStatus.FAILED),
        (Sighting("l", None, True, None), False, 2_000_000, MachineStatus.FAILED),
        (Sighting("l", RECORD, True, 5), True, 2_000_000, MachineStatus.STOPPING),
        (Sighting("l", RECORD, False, 5), True, 2_000_000, MachineStatus.STOPPING),
    ],
)
def test_status(sighting: Sighting, answered: bool, now: int, status: MachineStatus) -> None:
    assert view.status(sighting, answered=answered, now=now) is status


def test_advertised_host() -> None:
    assert SETTINGS.advertised_host == "127.0.0.1"
    assert replace(SETTINGS, ssh_bind="0.0.0.0").advertised_host not in ("", "0.0.0.0")
    assert replace(SETTINGS, ssh_bind="0.0.0.0", ssh_host="gpu1").advertised_host == "gpu1"
    assert replace(SETTINGS, ssh_bind="0.0.0.0", unsandboxed=True).bind == "127.0.0.1"
    assert SETTINGS.machine_limit >= 64
