"""Vast.ai's own command line and SDK against our Vast.ai, and our adapter beside them on the same machines.

What the vendor's clients cannot do here, our simulator has wrong; what our adapter sees otherwise, it misreads.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from controlplane.adapters.providers.vastai import VastaiProvider, VastaiSettings
from controlplane.adapters.system import SystemClock
from controlplane.domain.money import nano
from controlplane.domain.offer import Offer, Tier
from controlplane.ports.meter import NoMeter
from controlplane.ports.provider import Machine, MachineStatus
from tests.fidelity.conftest import KEY, Vendors

pytestmark = pytest.mark.slow

IMAGE = "nvidia/cuda:12.4.1-base-ubuntu22.04"
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP5uG0eTvt0l0VrF6nW5V0Q8m8m1Q3G6yYJm2dE9xq1z fidelity"
DISK_GB = VastaiSettings("").disk_gb  # what our adapter prices offers with


def adapter(vast: Vendors) -> VastaiProvider:
    """Our own client of the same market."""
    return VastaiProvider(VastaiSettings(KEY, vast.url), SystemClock(), NoMeter())


def our_offers(vast: Vendors) -> list[Offer]:
    """What our adapter finds."""

    async def ask() -> list[Offer]:
        provider = adapter(vast)
        try:
            return list(await provider.offers())
        finally:
            await provider.close()

    return asyncio.run(ask())


def our_view(vast: Vendors, instance: int) -> tuple[Machine, list[str]]:
    """What our adapter says of one machine, and the labels of all."""

    async def ask() -> tuple[Machine, list[str]]:
        provider = adapter(vast)
        try:
            listing = await provider.list("")
            assert listing.complete
            return await provider.describe(str(instance)), sorted(machine.label for machine in listing.machines)
        finally:
            await provider.close()

    return asyncio.run(ask())


def rented(vast: Vendors, offer: int, *more: object) -> int:
    """A new instance, once it runs."""
    argv = ("create", "instance", offer, "--image", IMAGE, "--disk", 40, "--ssh", "--direct", "--cancel-unavail")
    made = vast.vastai_json(*argv, *more)
    assert made["success"] is True
    until_status(vast, made["new_contract"], "running")
    return int(made["new_contract"])


def until_status(vast: Vendors, instance: int, status: str) -> dict[str, Any]:
    """Its row, once the vendor's client shows that status."""
    deadline = time.monotonic() + 30
    while (row := shown(vast, instance))["actual_status"] != status:
        assert time.monotonic() < deadline, f"it stays {row['actual_status']}"
    return row


def shown(vast: Vendors, instance: int) -> dict[str, Any]:
    row: dict[str, Any] = vast.vastai_json("show", "instance", instance)
    return row


def test_search_finds_what_our_adapter_finds(vast: Vendors) -> None:
    query = ("search", "offers", "gpu_name=RTX_4090", "-o", "dph_total", "--storage", DISK_GB, "--limit", 100)
    theirs = vast.vastai_json(*query)
    ours = [o for o in our_offers(vast) if o.gpu_type == "RTX 4090" and o.tier is Tier.ON_DEMAND]
    ours.sort(key=lambda offer: offer.price_nano_per_hour)
    assert len(theirs) > 3
    assert [f"vastai-{row['id']}" for row in theirs] == [offer.id for offer in ours]
    assert [nano(str(row["dph_total"])) for row in theirs] == [offer.price_nano_per_hour for offer in ours]


def test_life_of_an_instance(vast: Vendors) -> None:
    """Search, create, show, label, SSH, log, stop, start, destroy."""
    offer = vast.vastai_json("search", "offers", "gpu_name=RTX_4090 num_gpus=1", "-o", "dph_total")[0]
    instance = rented(vast, offer["id"], "--label", "cp-t-1", "--env", "-e FOO=bar -p 8080:8080")
    row = shown(vast, instance)
    assert (row["label"], row["extra_env"]["FOO"]) == ("cp-t-1", "bar")
    assert "8080/tcp" in row["ports"]

    machine, _ = our_view(vast, instance)
    assert (machine.status, machine.label) == (MachineStatus.RUNNING, "cp-t-1")
    assert machine.price_nano_per_hour == nano(str(row["dph_total"]))
    assert machine.ssh is not None
    assert vast.vastai("ssh-url", instance).stdout.strip() == f"ssh://root@{machine.ssh.host}:{machine.ssh.port}"

    vast.vastai("label", "instance", instance, "cp-t-2")
    assert "'success': True" in vast.vastai("attach", "ssh", instance, SSH_KEY).stdout
    assert IMAGE in vast.vastai("logs", instance).stdout
    assert [one["label"] for one in vast.vastai_json("show", "instances")] == ["cp-t-2"] == our_view(vast, instance)[1]

    vast.vastai("stop", "instance", instance)
    assert until_status(vast, instance, "exited")["intended_status"] == "stopped"
    assert our_view(vast, instance)[0].status is MachineStatus.STOPPED
    vast.vastai("start", "instance", instance)
    until_status(vast, instance, "running")

    assert f"destroying instance {instance}" in vast.vastai("destroy", "instance", instance, "-y").stdout
    assert vast.vastai_json("show", "instances") == []
    machine, labels = our_view(vast, instance)
    assert (machine.status, labels) == (MachineStatus.GONE, [])


def test_bid_is_raised(vast: Vendors) -> None:
    offer = vast.vastai_json("search", "offers", "num_gpus=1", "--type", "bid", "-o", "dph_total")[0]
    instance = rented(vast, offer["id"], "--bid_price", 0.4, "--label", "cp-bid")
    assert shown(vast, instance)["dph_base"] == pytest.approx(0.4)
    vast.vastai("change", "bid", instance, "--price", 0.5)
    row = shown(vast, instance)
    assert (row["is_bid"], row["dph_base"]) == (True, pytest.approx(0.5))
    assert our_view(vast, instance)[0].price_nano_per_hour == nano(str(row["dph_total"]))


def test_bid_too_low_leaves_a_machine_behind(vast: Vendors) -> None:
    offer = vast.vastai_json("search", "offers", "num_gpus=1", "--type", "bid", "-o", "dph_total")[0]
    argv = ("create", "instance", offer["id"], "--image", IMAGE, "--bid_price", 0.001, "--label", "cp-low", "--raw")
    vast.vastai(*argv)
    left = vast.vastai_json("show", "instances")
    assert [(one["label"], one["intended_status"]) for one in left] == [("cp-low", "stopped")]


def test_account_is_shown(vast: Vendors) -> None:
    assert vast.vastai_json("show", "ssh-keys") == []
    vast.vastai("create", "ssh-key", SSH_KEY, "-y")
    assert [key["public_key"] for key in vast.vastai_json("show", "ssh-keys")] == [" ".join(SSH_KEY.split()[:2])]
    assert vast.vastai_json("show", "user")["credit"] > 0


def test_mistakes_are_refused_in_the_vendors_words(vast: Vendors) -> None:
    gone = json.loads(vast.vastai("create", "instance", 999, "--image", "x", "--raw").stderr)
    assert (gone["error"], gone["status_code"]) == (True, 404)
    assert "no_such_ask" in gone["msg"]
    assert "404" in vast.vastai("destroy", "instance", 99999, "-y").stderr
    stranger = json.loads(vast.vastai("show", "instances", "--raw", key="wrong").stderr)
    assert (stranger["status_code"], "Invalid user key" in stranger["msg"]) == (404, True)


def test_old_list_is_dead(vast: Vendors) -> None:
    request = urllib.request.Request(f"{vast.url}/api/v0/instances/", headers={"Authorization": f"Bearer {KEY}"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 410
    assert json.load(caught.value)["error"] == "deprecated_endpoint"


def test_sdk_sees_every_machine_once_over_pages(vast: Vendors) -> None:
    found = vast.script("vast_sdk.py")
    labels = [f"sdk-{number:02}" for number in range(27)]
    assert [one["label"] for one in found["shown"]] == labels
    assert {one["image"] for one in found["shown"]} == {IMAGE}
    assert found["left"] == labels[:1]
    assert found["refused"] == 410  # it leaves cancel_unavail to its default
    assert our_view(vast, found["shown"][0]["id"])[1] == labels[:1]
