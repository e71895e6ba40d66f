"""io.net's own SDK against our io.net, and our adapter beside it on the same machine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controlplane.adapters.providers.ionet import IonetProvider, IonetSettings
from controlplane.adapters.system import SystemClock
from controlplane.ports.meter import NoMeter
from controlplane.ports.provider import Machine, MachineStatus
from tests.fidelity.conftest import KEY, Vendors

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(ionet: Vendors) -> dict[str, Any]:
    """What the SDK saw."""
    seen: dict[str, Any] = ionet.script("ionet_sdk.py")
    return seen


def our_view(ionet: Vendors, machine_id: str) -> Machine:
    """What our adapter says of one machine; its label is known from the list only."""

    async def ask() -> Machine:
        provider = IonetProvider(IonetSettings(KEY, ionet.url), SystemClock(), NoMeter())
        try:
            assert (await provider.list("cp-")).complete
            return await provider.describe(machine_id)
        finally:
            await provider.close()

    return asyncio.run(ask())


def test_sdk_deploys_waits_extends_and_deletes(found: dict[str, Any]) -> None:
    containers, machines = found["containers"], found["machines"]
    assert (containers["status"], machines["status"]) == ("running", "running")
    assert containers["listed"] == ["cp-caas"]
    assert all(url.startswith("https://") for url in containers["urls"])
    assert containers["remaining"] == [60, 180]
    assert containers["after_delete"] in ("termination requested", "destroyed")
    assert machines["listed"] == ["cp-passing", "cp-vm"]


def test_sdk_reads_refusals_as_what_they_are(found: dict[str, Any]) -> None:
    told = {name: found[name] for name in ("unknown", "misshapen", "stranger")}
    assert told == {
        "unknown": "NotFoundError 404", "misshapen": "UnprocessableError 422", "stranger": "AuthenticationError 401",
    }  # fmt: skip


def test_our_adapter_sees_the_same_machine(ionet: Vendors, found: dict[str, Any]) -> None:
    theirs = found["machines"]
    machine = our_view(ionet, theirs["id"])
    assert (machine.status, machine.label) == (MachineStatus.RUNNING, "cp-vm")
    assert machine.ssh is not None
    assert theirs["ssh"] == [f"ssh {machine.ssh.user}@{machine.ssh.host} -p {machine.ssh.port}"]
    assert machine.created_at is not None
    assert machine.paid_until == machine.created_at + 3 * 3_600_000_000  # an hour, and two more
