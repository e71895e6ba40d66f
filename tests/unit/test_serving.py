"""Machines that serve and have no SSH: ready when their service answers. In virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from controlplane.domain import ids
from controlplane.domain.errors import InvalidArgument
from controlplane.domain.instance import Instance
from controlplane.domain.state import State
from controlplane.domain.stray import StrayMachine
from controlplane.ports.probe import ProbeResult
from controlplane.ports.provider import LaunchMode, LaunchSpec, Machine, MachineStatus
from controlplane.usecases import strays
from controlplane.usecases.machine_secrets import model_key
from controlplane.wire.instance import instance_message
from tests.support.lab import Lab, in_virtual_time
from tests.unit.test_marketplace_rules import seen_as

URL = "http://203.0.113.7:41000/v1"
SERVES = {"mode": "model", "model": "x/y-7B", "quantization": "awq"}


def only_serving(lab: Lab, url: str = URL) -> None:
    """The market's machines have no SSH, and serve once they run."""
    seen_as(lab, lambda m: replace(m, ssh=None, model_url=url if m.status is MachineStatus.RUNNING else ""))


class Service:
    """What answers behind every URL; counts how often it was asked for what."""

    def __init__(self, lab: Lab, answers: ProbeResult) -> None:
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []
        lab.core.prober.model_health = self._model  # type: ignore[method-assign]
        lab.core.prober.http_health = self._http  # type: ignore[method-assign]

    async def _model(self, url: str, api_key: str, deadline_s: float) -> ProbeResult:
        self.asked.append((url, api_key))
        return self.answers

    async def _http(self, url: str, deadline_s: float) -> ProbeResult:
        self.asked.append((url,))
        return self.answers


@in_virtual_time
async def test_it_runs_when_its_model_answers_the_tenants_key(lab: Lab) -> None:
    only_serving(lab)
    service = Service(lab, ProbeResult(False, reason="the model server is not reachable"))
    lab.work()
    row = await lab.create(**SERVES)
    await asyncio.sleep(40)
    assert lab.instance(row.id).state is State.STARTING
    service.answers = ProbeResult(True)
    row = await lab.until(row.id, State.RUNNING)
    assert set(service.asked) == {(URL, model_key(lab.core.secrets, row.id))}
    assert (row.model_url, row.ssh_host, row.ssh_port, row.ssh_user, row.ssh_host_key) == (URL, "", 0, "", "")
    (spec,) = lab.provider.asked
    assert (spec.mode, spec.model, spec.quantization) == (LaunchMode.MODEL, "x/y-7B", "awq")
    connection = instance_message(row).connection
    assert (connection.ssh_host, connection.ssh_command, connection.model_url) == ("", "", URL)


@in_virtual_time
async def test_one_whose_service_never_answers_failed_to_start(lab: Lab) -> None:
    only_serving(lab)
    Service(lab, ProbeResult(False, reason="the model server is not reachable"))
    lab.work()
    row = await lab.settled((await lab.create(**SERVES)).id)
    assert (row.state, row.state_reason) == (State.FAILED, "START_TIMEOUT")
    assert "the model server is not reachable" in row.state_message
    assert lab.market.alive == []


@in_virtual_time
async def test_one_without_a_url_is_not_asked(lab: Lab) -> None:
    only_serving(lab, url="")
    service = Service(lab, ProbeResult(True))
    lab.work()
    row = await lab.settled((await lab.create(**SERVES)).id)
    assert (row.state_reason, service.asked) == ("START_TIMEOUT", [])


@in_virtual_time
async def test_an_image_that_serves_something_of_its_own_is_asked_at_its_root_without_a_key(lab: Lab) -> None:
    only_serving(lab)
    service = Service(lab, ProbeResult(True))
    lab.work()
    row = await lab.running(mode="model", image="me/comfy:1")
    assert service.asked == [("http://203.0.113.7:41000",)]
    (spec,) = lab.provider.asked
    assert (spec.model, spec.model_api_key, row.model_url) == ("", "", URL)


@in_virtual_time
async def test_a_url_that_moved_is_followed(lab: Lab) -> None:
    only_serving(lab)
    lab.work()
    row = await lab.running(**SERVES)
    only_serving(lab, "http://203.0.113.7:41999/v1")
    await asyncio.sleep(15)
    assert lab.instance(row.id).model_url == "http://203.0.113.7:41999/v1"
    assert lab.instance(row.id).state is State.RUNNING


@in_virtual_time
async def test_one_that_is_adopted_is_taken_for_what_it_is(lab: Lab) -> None:
    instance_id = ids.encode(ids.INSTANCE, lab.core.ids.uuid7())
    offer = lab.provider.catalogue()[0]
    made = lab.market.make(LaunchSpec(ids.label("lab", instance_id, 1), offer, (), "", 10))
    made.ready_at = lab.market.now()
    only_serving(lab)
    listed = lab.provider.list

    async def serving(label_prefix: str) -> object:
        listing = await listed(label_prefix)
        return replace(listing, machines=tuple(map(_serving, listing.machines)))

    lab.provider.list = serving  # type: ignore[method-assign, assignment]
    service = Service(lab, ProbeResult(True))
    await asyncio.sleep(60)
    for _ in range(2):
        await lab.sweeper.sweep()
    (stray,) = lab.disk.table(StrayMachine).values()
    await strays.adopt(lab.core, stray.id, "acct_a")
    await lab.sweeper.sweep()
    lab.work()
    row = await lab.until(instance_id, State.RUNNING)
    assert (row.wish.mode, row.model_url, service.asked) == ("model", URL, [("http://203.0.113.7:41000",)])


def _serving(machine: Machine) -> Machine:
    return replace(machine, ssh=None, model_url=URL)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"mode": "model"}, "model is required for LAUNCH_MODE_MODEL without an image"),
        ({"model": "m"}, "model needs LAUNCH_MODE_MODEL"), ({"quantization": "awq"}, "quantization needs a model"),
        ({"mode": "model", "image": "i", "quantization": "awq"}, "quantization needs a model"),
        ({"mode": "model", "model": "m", "quantization": "q" * 64}, "quantization must be at most 63"),
    ],
)  # fmt: skip
def test_what_is_served_has_rules(wish: dict[str, str], said: str) -> None:
    @in_virtual_time
    async def play(lab: Lab) -> None:
        with pytest.raises(InvalidArgument, match=said):
            await lab.create(**wish)
        assert lab.disk.table(Instance) == {}

    play()
