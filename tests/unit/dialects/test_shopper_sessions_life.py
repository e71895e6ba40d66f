"""Sessions from their first read to their last. In virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from gpuplane.dialects.shopper.v1 import sessions_pb2 as pb

from controlplane.api.dialects.shopper.errors import render_error
from controlplane.api.dialects.shopper.sessions_view import NOTE, duration_shown, is_session, session_shown, states_of
from controlplane.api.dialects.shopper.translate import STATES, STATUSES
from controlplane.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from controlplane.domain.principal import SCOPES, Principal
from controlplane.domain.state import State
from controlplane.wire.instance import instance_message
from tests.support.fakes import SECOND, START, instance
from tests.support.lab import Lab, in_virtual_time
from tests.unit.dialects.shopper_desk import Desk, desk_of

HOUR = 3600 * SECOND
STRANGER = Principal("acct_b", "key_b", frozenset(SCOPES))


async def running(lab: Lab, desk: Desk, **fields: Any) -> str:
    made = await desk.create(**fields)
    return (await lab.until(made.session.id, State.RUNNING)).id


def row(**changes: Any) -> Any:
    """A session's row."""
    labels = {
        "shopper/consumer_id": "app", "shopper/offer_id": "alpha-o1", "shopper/provider": "alpha",
        "shopper/workload_type": "llm", "shopper/storage_policy": "destroy", "shopper/launch_mode": "ssh",
    } | changes.pop("labels", {})  # fmt: skip
    return instance_message(instance(labels=labels, expire_at=START + 2 * HOUR, **changes))


@in_virtual_time
async def test_a_running_session(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    id = await running(lab, desk, disk_gb=100, idle_threshold_minutes=30)
    shown = await desk.get(id)
    assert (shown.status, shown.ssh_host, shown.ssh_port, shown.ssh_user) == ("running", "host", 22, "root")
    assert (shown.reservation_hours, shown.price_per_hour, shown.disk_gb) == (2, 0.41, 100)
    assert (shown.consumer_id, shown.offer_id, shown.idle_threshold_minutes) == ("app", "alpha-o1", 30)
    assert shown.api_endpoint == ""
    absent = (
        "error",
        "api_port",
        "model_id",
        "quantization",
        "docker_image",
        "template_hash_id",
        "stopped_at",
        "simulated",
    )
    assert not [name for name in absent if shown.HasField(name)]


def test_every_state_has_one_of_the_six_words_and_none_is_pending() -> None:
    assert set(STATES) == set(State)
    assert set(STATES.values()) == set(STATUSES) - {"pending"}
    assert states_of("pending") == frozenset()
    assert states_of("provisioning") == {State.ACCEPTED, State.ALLOCATING, State.STARTING}
    with pytest.raises(InvalidArgument, match="status must be one of pending, provisioning, running"):
        states_of("asleep")


def test_what_an_instance_does_not_have_comes_from_its_labels() -> None:
    labels = {
        "shopper/model_id": "x/y", "shopper/quantization": "awq", "shopper/exposed_ports": "8000,8080",
        "shopper/template": "hash", "shopper/template_name": "Ollama", "shopper/auto_retry": "true",
    }  # fmt: skip
    shown = session_shown(row(labels=labels, simulated=True))
    assert shown.provider == "alpha", "known before the first attempt"
    assert (shown.model_id, shown.quantization, list(shown.exposed_ports)) == ("x/y", "awq", [8000, 8080])
    assert (shown.template_hash_id, shown.template_name) == ("hash", "Ollama")
    assert shown.auto_retry
    assert shown.simulated


def test_a_failure_is_told_and_only_a_failure() -> None:
    failed = row(state=State.FAILED, state_reason="START_TIMEOUT", state_message="not usable in time", end_at=START)
    assert session_shown(failed).error == "not usable in time"
    assert session_shown(failed).stopped_at == "2026-01-01T00:00:00Z"
    ended = row(state=State.TERMINATED, state_reason="IDLE", state_message="idle for 60 s", end_at=START)
    assert not session_shown(ended).HasField("error")


@pytest.mark.parametrize(
    ("changes", "exists"),
    [
        ({"state": State.ACCEPTED}, True),
        ({"state": State.FAILED, "state_reason": "NO_CAPACITY"}, False),
        ({"state": State.FAILED, "state_reason": "PROVIDER_REFUSED"}, False),
        ({"state": State.TERMINATED, "state_reason": "BUDGET_EXHAUSTED"}, False),
        ({"state": State.TERMINATED, "state_reason": "BUDGET_EXHAUSTED", "run_at": START}, True),
        ({"state": State.FAILED, "state_reason": "NO_CAPACITY", "labels": {"shopper/announced": "true"}}, True),
        ({"state": State.FAILED, "state_reason": "START_TIMEOUT"}, True),
        ({"state": State.TERMINATED, "state_reason": "TERMINATED_BY_CALLER"}, True),
    ],
)
def test_only_a_creation_that_was_refused_leaves_no_session(changes: dict[str, Any], exists: bool) -> None:
    assert is_session(row(**changes)) is exists


def test_an_instance_of_another_api_is_no_session() -> None:
    assert not is_session(instance_message(instance()))


@in_virtual_time
async def test_lists_by_consumer_status_provider_and_limit(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    await lab.create("alpha-o3")  # of the canonical API
    first = await running(lab, desk)
    second = await running(lab, desk, consumer_id="another")
    third = await running(lab, desk, offer_id="alpha-o2")
    await desk.destroy(third)
    await lab.settled(third)
    assert await desk.list() == [third, second, first]
    assert await desk.list(consumer_id="app") == [third, first]
    assert await desk.list(status="running") == [second, first]
    assert await desk.list(status="stopped", consumer_id="another") == []
    assert await desk.list(provider="alpha") == [third, second, first]
    assert await desk.list(provider="beta") == []
    assert await desk.list(limit="1") == [third]
    assert await desk.list(consumer_id="nobody") == []


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        ({"limit": "0"}, "limit must be positive; got '0'"),
        ({"limit": "-3"}, "limit must be positive; got '-3'"),
        ({"limit": "ten"}, "limit must be a whole number"),
        ({"status": "asleep"}, "status must be one of pending, provisioning"),
        ({"provider": "aws"}, "provider must be one of alpha, beta, tensordock, vastai; got 'aws'"),
    ],
)
def test_a_filter_out_of_its_range_is_named(filters: dict[str, str], sentence: str) -> None:
    @in_virtual_time
    async def play(lab: Lab) -> None:
        desk = await desk_of(lab)
        with pytest.raises(InvalidArgument) as refused:
            await desk.list(**filters)
        assert refused.value.message.startswith(sentence)

    play()


@in_virtual_time
async def test_a_list_longer_than_a_page_is_whole(lab: Lab) -> None:
    desk = await desk_of(lab)
    made = [(await desk_row(lab, n)).id for n in range(1100)]
    assert await desk.list(limit="1000") == made[:99:-1]
    assert len(await desk.list(consumer_id="odd")) == 550


async def desk_row(lab: Lab, n: int) -> Any:
    """A session's row, put as it is."""
    labels = {"shopper/consumer_id": "odd" if n % 2 else "even", "shopper/offer_id": "alpha-o1"} | {
        f"shopper/{name}": "x" for name in ("provider", "workload_type", "storage_policy", "launch_mode")
    }
    made = instance(f"inst_{n:04}", labels=labels, expire_at=START + HOUR, state=State.RUNNING)
    await lab.put(made)
    return made


@in_virtual_time
async def test_done_is_graceful_and_answers_at_once(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    id = await running(lab, desk)
    began = lab.seconds
    notice = await desk.done(id)
    assert (notice.message, notice.session_id) == ("session shutdown initiated", id)
    assert (await desk.done(id)).message == "session shutdown initiated", "again while it lasts"
    assert lab.seconds == began
    assert not lab.instance(id).stop_force
    await lab.settled(id)
    assert (await desk.get(id)).status == "stopped"
    with pytest.raises(FailedPrecondition, match=f"session {id} is stopped and has ended already") as refused:
        await desk.done(id)
    assert render_error(refused.value, "rid").status == 409


@in_virtual_time
async def test_destroy_forces_and_is_fine_at_any_time(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    id = await running(lab, desk)
    await desk.done(id)
    began = lab.seconds
    notice = await desk.destroy(id)
    assert (notice.message, notice.session_id) == ("session destroyed", id)
    assert lab.seconds == began
    assert lab.instance(id).stop_force
    await lab.settled(id)
    before = lab.instance(id)
    assert (await desk.destroy(id)).message == "session destroyed"
    assert lab.instance(id) == before
    assert lab.market.alive == []


@in_virtual_time
async def test_a_session_ends_with_its_reservation(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    id = await running(lab, desk, reservation_hours=1)
    await lab.settled(id, within_s=4000)
    assert 3600 <= lab.seconds < 3700
    assert (await desk.get(id)).status == "stopped"


@in_virtual_time
async def test_an_idle_session_ends(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    id = await running(lab, desk, idle_threshold_minutes=1)
    ended = await lab.settled(id)
    assert ended.stop_reason == "IDLE"


@in_virtual_time
async def test_extend_counts_what_is_reserved_against_twelve_hours(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    id = await running(lab, desk)
    answer = await desk.extend(id, 2, "name")
    assert (answer.message, answer.session_id, answer.new_expires_at) == ("session extended", id, _at(lab, id, 4))
    assert await desk.extend(id, 2, "name") == answer, "once"
    assert (await desk.get(id)).reservation_hours == 4
    with pytest.raises(InvalidArgument) as refused:
        await desk.extend(id, 9)
    assert refused.value.message == (
        "additional_hours must keep the session within 12 hours in all, of which 4 are reserved; got '9'"
    )
    assert render_error(refused.value, "rid").status == 400
    await desk.extend(id, 8)
    assert (await desk.get(id)).expires_at == _at(lab, id, 12)


def _at(lab: Lab, id: str, hours: int) -> str:
    shown = session_shown(
        instance_message(replace(lab.instance(id), expire_at=lab.instance(id).created_at + hours * HOUR))
    )
    text: str = shown.expires_at
    return text


@pytest.mark.parametrize(
    ("hours", "sentence"),
    [
        (0, "additional_hours is required"),
        (13, "additional_hours must be from 1 to 12; got '13'"),
        (-1, "additional_hours must be from 1 to 12; got '-1'"),
    ],
)
def test_hours_out_of_range(hours: int, sentence: str) -> None:
    @in_virtual_time
    async def play(lab: Lab) -> None:
        desk = await desk_of(lab)
        lab.work()
        id = (await desk.create()).session.id
        with pytest.raises(InvalidArgument) as refused:
            await desk.extend(id, hours)
        assert refused.value.message == sentence

    play()


@in_virtual_time
async def test_what_ends_or_has_ended_cannot_be_extended(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    id = await running(lab, desk)
    await desk.done(id)
    with pytest.raises(FailedPrecondition):  # even before anybody acts on it
        await desk.extend(id, 1)
    await lab.settled(id)
    with pytest.raises(FailedPrecondition, match=f"session {id} is stopped and cannot be extended") as refused:
        await desk.extend(id, 1)
    assert render_error(refused.value, "rid").status == 409


@in_virtual_time
async def test_diagnostics_of_a_running_session_only(lab: Lab) -> None:
    desk = await desk_of(lab)
    made = await desk.create()
    with pytest.raises(InvalidArgument, match="is provisioning; it must be running"):
        await desk.ask("DiagnoseSession", pb.DiagnoseSessionRequest(id=made.session.id))
    lab.work()
    id = (await lab.until(made.session.id, State.RUNNING)).id
    await asyncio.sleep(5430 - lab.seconds)
    told = await desk.ask("DiagnoseSession", pb.DiagnoseSessionRequest(id=id))
    assert (told.session_id, told.status, told.uptime, told.time_to_expiry) == (id, "running", "1h 30m", "29m")
    assert (told.ssh_host, told.ssh_available, told.launch_mode, told.api_endpoint) == ("host", True, "ssh", "")
    assert told.note == NOTE


@pytest.mark.parametrize(
    ("minutes", "text"), [(-3, "0m"), (0, "0m"), (59, "59m"), (60, "1h 0m"), (90, "1h 30m"), (720, "12h 0m")]
)
def test_durations(minutes: int, text: str) -> None:
    assert duration_shown(minutes * 60 * SECOND) == text


@pytest.mark.parametrize("method", ["Get", "Finish", "Destroy", "Extend", "Diagnose", "Rekey"])
def test_nobody_elses_instance_and_nothing_unknown_is_a_session(method: str) -> None:
    @in_virtual_time
    async def play(lab: Lab) -> None:
        desk = await desk_of(lab)
        lab.work()
        mine = await running(lab, desk)
        canonical = (await lab.create("alpha-o3")).id
        request = getattr(pb, f"{method}SessionRequest")
        stranger = Desk(lab.core, desk.hub, STRANGER)
        for where, id in ((stranger, mine), (desk, canonical), (desk, "sess-abc123")):
            with pytest.raises(NotFound) as refused:
                await where.ask(f"{method}Session", request(id=id))
            assert render_error(refused.value, "rid").body["error"] == f"session not found: {id}"
        assert lab.instance(mine).stop_at is None
        assert await stranger.list() == []

    play()


@in_virtual_time
async def test_an_entrypoint_session_shows_its_endpoint_and_its_key_once(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    made = await desk.create(launch_mode="entrypoint", model_id="x/y-1B")
    assert made.api_key.startswith("gpm_")
    row = await lab.until(made.session.id, State.RUNNING)
    await lab.put(replace(row, model_url="http://host:8000/v1"))
    shown = await desk.get(row.id)
    assert (shown.launch_mode, shown.model_id) == ("entrypoint", "x/y-1B")
    assert (shown.api_endpoint, shown.api_port) == ("http://host:8000", 8000), "clients append /v1/..."
    assert made.api_key not in str(shown)
