"""The shopper's health, and its errors."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from gpuplane.dialects.shopper.v1 import system_pb2 as pb

from controlplane.api.dialects.shopper.errors import (
    CONTENT_TYPE,
    LOCAL_REPLIES,
    InsufficientDisk,
    StaleInventory,
    render_error,
)
from controlplane.api.dialects.shopper.readiness import check_takes_work
from controlplane.api.dialects.shopper.system import System
from controlplane.api.vitals import Check
from controlplane.dialect import REQUEST_ID
from controlplane.domain.errors import FailedPrecondition, PlaneError, Unavailable, not_found
from controlplane.domain.state import State
from controlplane.metrics import Metrics
from controlplane.ports.meter import NoMeter
from controlplane.ports.provider import Capabilities, Listing, ProviderError
from controlplane.ports.store import LiveCount
from controlplane.reconcile.sweep import Sweeper
from controlplane.vitals import ProcessVitals
from tests.support.fakes import FakeClock
from tests.unit.dialects.shopper_plane import FakeCall, Vitals, World

UP = Check("database", True, vital=True)
DOWN = Check("database", False, vital=True)
NO_MARKET = Check("provider:vastai", False)


@pytest.mark.parametrize(
    ("vitals", "status", "services"),
    [
        (Vitals(True, True, UP), 200, {"lifecycle": "running", "inventory": "ok", "ready": "true"}),
        (Vitals(True, False, UP), 503, {"lifecycle": "stopped", "inventory": "ok", "ready": "false"}),
        (Vitals(False, True, UP), 503, {"lifecycle": "stopped", "inventory": "ok", "ready": "false"}),
        (Vitals(True, True, DOWN), 503, {"lifecycle": "stopped", "inventory": "ok", "ready": "true"}),
        (Vitals(True, True, NO_MARKET), 200, {"lifecycle": "running", "inventory": "unavailable", "ready": "true"}),
        (
            Vitals(True, True, NO_MARKET, Check("provider:local", True)),
            200,
            {"lifecycle": "running", "inventory": "ok", "ready": "true"},
        ),
    ],
)
async def test_health_has_the_documented_shape(vitals: Vitals, status: int, services: dict[str, str]) -> None:
    call = FakeCall()
    health = await System(World(vitals).plane).get_health(pb.GetHealthRequest(), call)
    assert call.status == status
    assert MessageToDict(health) == {
        "status": "ok" if status == 200 else "unavailable",
        "timestamp": "2026-01-01T00:00:00Z",
        "services": services,
    }


class Done(Exception):
    """The first pause of a sweeper."""


@pytest.mark.parametrize("failure", [None, ProviderError("an odd answer")])
async def test_a_provider_counts_as_asked_whatever_it_answers(failure: Exception | None) -> None:
    class Provider:
        name, capabilities = "vastai", Capabilities(call_timeout_s=5)

        async def list(self, label_prefix: str) -> Listing:
            if failure is not None:
                raise failure
            return Listing(True, ())

    class Pausing(FakeClock):
        async def sleep(self, seconds: float) -> None:
            raise Done

    world = World()
    core: Any = SimpleNamespace(
        clock=Pausing(), store=world.store, deployment_id="dep1", host_id="", meter=NoMeter(), providers={}
    )
    sweeper = Sweeper(core, Provider())
    assert not sweeper.report.asked
    with pytest.raises(Done):
        await sweeper.run(30)
    assert (sweeper.report.asked, bool(sweeper.report.failed)) == (True, failure is not None)


async def test_active_sessions_are_counted_by_the_documented_words() -> None:
    class Store:
        async def live_counts(self) -> list[LiveCount]:
            states = (State.ACCEPTED, State.STARTING, State.RUNNING)
            return [LiveCount("vastai", state, 2, 0) for state in states]

    metrics = Metrics()
    loop = asyncio.create_task(ProcessVitals(Store(), None, [], None, metrics).refresh_gauges())  # type: ignore[arg-type]
    await asyncio.sleep(0)
    loop.cancel()
    text = metrics.exposition().decode()
    assert 'gpu_sessions_active{provider="vastai",status="provisioning"} 4.0' in text
    assert 'gpu_sessions_active{provider="vastai",status="running"} 2.0' in text


@pytest.mark.parametrize(("ready", "swept"), [(True, True), (True, False), (False, True)])
async def test_nothing_is_ready_before_the_sweep_and_while_stopping(ready: bool, swept: bool) -> None:
    call, vitals = FakeCall(), Vitals(ready, swept)
    shown = await System(World(vitals).plane).get_readiness(pb.GetReadinessRequest(), call)
    well = ready and swept
    assert (shown.ready, call.status, shown.timestamp) == (well, 200 if well else 503, "2026-01-01T00:00:00Z")
    if well:
        check_takes_work(vitals)
    else:
        with pytest.raises(Unavailable, match="starting or stopping"):
            check_takes_work(vitals)


async def test_metrics_are_text() -> None:
    found = await System(World().plane).get_metrics(pb.GetMetricsRequest(), FakeCall())
    assert (found.content_type.partition(";")[0], found.data) == ("text/plain", b"gpu_sessions_active 1\n")


def test_a_refusal_is_a_sentence_and_a_request_id() -> None:
    shown = render_error(not_found("instance", "sess-1"), "req-1")
    assert (shown.status, shown.content_type) == (404, CONTENT_TYPE)
    assert shown.body == {"error": "session not found: sess-1", "request_id": "req-1"}
    assert render_error(PlaneError("internal error"), "r").status == 500


def test_states_are_told_in_the_documented_words() -> None:
    error = FailedPrecondition("the instance ends (STOPPING)", state=State.STOPPING)
    shown = render_error(error, "r")
    assert (shown.status, shown.body["error"]) == (409, "the instance ends (stopping)")


def test_stale_inventory_is_told_as_documented() -> None:
    shown = render_error(StaleInventory("vastai-12345", "vastai"), "req-1")
    assert shown.status == 503
    assert shown.body == {
        "error": "offer unavailable due to stale inventory",
        "error_type": "stale_inventory",
        "offer_id": "vastai-12345",
        "provider": "vastai",
        "retry_suggested": True,
        "message": "The selected offer is no longer available. Please refresh inventory and select a different offer.",
        "request_id": "req-1",
    }
    assert list(shown.body)[-1] == "request_id"


def test_a_disk_that_is_too_small_is_told_with_the_breakdown() -> None:
    shown = render_error(InsufficientDisk("too small", 10, 132, 160, {"model_gb": 117.0}), "r")
    assert (shown.status, shown.body["error_type"], shown.body["breakdown"]) == (
        400, "insufficient_disk", {"model_gb": 117.0},
    )  # fmt: skip


def test_envoys_own_answers_have_the_same_shape() -> None:
    assert all(set(reply.body) == {"error", "request_id"} for reply in LOCAL_REPLIES)
    assert {reply.body["request_id"] for reply in LOCAL_REPLIES} == {REQUEST_ID}
    assert {reply.content_type for reply in LOCAL_REPLIES} == {CONTENT_TYPE}
