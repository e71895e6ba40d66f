"""What the local provider offers, and how it reads sightings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from structlog.testing import capture_logs

from controlplane.adapters.providers.local import LocalProvider, LocalSettings, catalogue, gpus, view
from controlplane.adapters.providers.local.gpus import GpuKind
from controlplane.domain.gpus import gpu
from controlplane.domain.offer import Tier
from controlplane.ports.provider import Created, LaunchMode, LaunchSpec, MachineStatus, ProviderError, Stockout
from controlplane.sandbox import runtime
from controlplane.sandbox.host import Host
from controlplane.sandbox.machines import Machines, Sighting
from controlplane.sandbox.records import Record
from controlplane.sandbox.spec import JupyterSpec, SandboxError, SandboxSpec
from tests.support.fakes import FakeClock

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


async def _launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: LaunchMode, error: str = "") -> Any:
    """The outcome, the sandbox that was asked for, and what was logged. No machine is made."""
    asked: list[SandboxSpec] = []

    def create(_: Machines, spec: SandboxSpec, now: int, *, limit: int) -> bool:
        asked.append(spec)
        if error:
            raise SandboxError(error)
        return True

    monkeypatch.setattr(Machines, "create", create)
    monkeypatch.setattr(Host, "refusal", "")
    monkeypatch.setattr(gpus, "discover", lambda taken: ((), ""))
    provider = LocalProvider(replace(SETTINGS, state_dir=tmp_path), FakeClock())
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode().strip()
    spec = LaunchSpec("gp-d-i-1", (await provider.offers())[0], (key,), key, 1, mode=mode, jupyter_token="t")
    with capture_logs() as logged:
        outcome = await provider.launch(spec)
    await provider.close()
    return outcome, asked[0], logged


async def test_tenants_hear_no_path_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "FileNotFoundError: [Errno 2] No such file or directory: '/work/x.dist-info'"
    outcome, _, logged = await _launch(tmp_path, monkeypatch, LaunchMode.SSH, said)
    assert outcome == Stockout("this host could not start the machine")
    assert [line["error"] for line in logged] == [said]


async def test_a_failure_of_the_host_names_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/work/state/machines")

    monkeypatch.setattr(Machines, "look", break_down)
    provider = LocalProvider(replace(SETTINGS, state_dir=tmp_path), FakeClock())
    with capture_logs() as logged, pytest.raises(ProviderError) as caught:
        await provider.describe("gp-d-i-1")
    await provider.close()
    assert "/" not in str(caught.value)
    assert "/work/state/machines" in logged[0]["error"]


def test_last_words_are_the_machine_s_not_bubblewrap_s() -> None:
    said = "bwrap: Can't find source path /work/.venv/lib/zmq: No such file or directory"
    assert view.why_failed(Sighting("l", RECORD, False, None), said) == (
        "the machine's process ended; its last words: the sandbox could not be built"
    )
    assert view.without_host(f"a\n{said}\nb") == "a\nthe sandbox could not be built\nb"
    assert view.why_failed(Sighting("l", RECORD, False, None), "a\nb").endswith("its last words: b")


@pytest.mark.parametrize("usable", [True, False])
async def test_a_machine_has_jupyter_where_it_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usable: bool
) -> None:
    monkeypatch.setattr(runtime, "has_jupyter", lambda: usable)
    outcome, asked, _ = await _launch(tmp_path, monkeypatch, LaunchMode.JUPYTER)
    assert outcome == Created("gp-d-i-1")
    assert asked.service == (JupyterSpec("t") if usable else None)


def test_advertised_host() -> None:
    assert SETTINGS.advertised_host == "127.0.0.1"
    assert replace(SETTINGS, ssh_bind="0.0.0.0").advertised_host not in ("", "0.0.0.0")
    assert replace(SETTINGS, ssh_bind="0.0.0.0", ssh_host="gpu1").advertised_host == "gpu1"
    assert replace(SETTINGS, ssh_bind="0.0.0.0", unsandboxed=True).bind == "127.0.0.1"
    assert SETTINGS.machine_limit >= 64
