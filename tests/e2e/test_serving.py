"""A model served on the simulated Vast.ai, over real HTTP: the simulator and the plane are processes of their own."""

from __future__ import annotations

import json
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.real import Simulator
from tests.support.plane import Plane, eventually, running_plane

QUICK = {"boot_s": 0.5, "ports_after_s": 0.5, "ssh_after_s": 1.0}
MODEL = "x/y-7B"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with tempfile.TemporaryDirectory(prefix="gps-") as folder:
        made = Simulator("vastai", Path(folder), 0, QUICK)
        yield made
        made.close()


@pytest.fixture(scope="module")
def plane(simulator: Simulator) -> Iterator[Plane]:
    with running_plane(local=False, vastai_api_key="k", vastai_url=simulator.url) as running:
        yield running


def ask(url: str, body: object = None, method: str | None = None, **headers: str) -> tuple[int, Any]:
    """Status and JSON of a call."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, data, {"content-type": "application/json"} | headers, method=method or ("POST" if data else "GET")
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def api(plane: Plane) -> str:
    """The shopper's API."""
    return f"{json.loads((plane.state / 'endpoints.json').read_text())['shopper']}/api/v1"


def offer_of(plane: Plane) -> str:
    """An offer, once there are any."""
    listed = f"{api(plane)}/inventory?limit=1&min_vram=24"
    return str(eventually(lambda: ask(listed)[1].get("offers"), 30.0, what="offers")[0]["id"])


def created(plane: Plane, **fields: Any) -> tuple[int, Any]:
    wanted = {
        "consumer_id": "app", "workload_type": "llm_vllm", "reservation_hours": 1, "launch_mode": "entrypoint",
        "offer_id": offer_of(plane), "disk_gb": 100,
    }  # fmt: skip
    return ask(f"{api(plane)}/sessions", wanted | fields)


def running(plane: Plane, id: str) -> Any:
    """The session, once it runs."""

    def found() -> Any:
        session = ask(f"{api(plane)}/sessions/{id}")[1]
        assert session["status"] in ("provisioning", "running"), session
        return session if session["status"] == "running" else None

    return eventually(found, 60.0, what=lambda: f"session {id} to run\n{plane.tail}")


def ended(plane: Plane, simulator: Simulator, id: str) -> None:
    """End it, and see that nothing is left of it."""
    assert ask(f"{api(plane)}/sessions/{id}", method="DELETE")[0] == 200
    eventually(lambda: ask(f"{api(plane)}/sessions/{id}")[1]["status"] == "stopped", 30.0)
    assert [machine for machine in simulator.ask("ledger")["machines"] if machine["ended_at"] is None] == []


def test_a_session_serves_its_model_to_whoever_has_its_key(plane: Plane, simulator: Simulator) -> None:
    status, made = created(plane, model_id=MODEL, quantization="awq", exposed_ports=[9000])
    assert status == 201, made
    id = made["session"]["id"]
    session = running(plane, id)
    assert (session["ssh_host"], session["ssh_port"], session["launch_mode"]) == ("", 0, "entrypoint")
    assert session["api_endpoint"] == f"http://127.0.0.1:{session['api_port']}"
    models = f"{session['api_endpoint']}/v1/models"
    assert ask(models)[0] == 401
    status, listed = ask(models, authorization=f"Bearer {made['api_key']}")
    assert (status, [model["id"] for model in listed["data"]]) == (200, [MODEL])
    diagnosed = ask(f"{api(plane)}/sessions/{id}/diagnostics")[1]
    assert (diagnosed["ssh_available"], diagnosed["api_endpoint"]) == (False, session["api_endpoint"])
    ended(plane, simulator, id)


def test_a_session_runs_an_image_of_its_own(plane: Plane, simulator: Simulator) -> None:
    status, made = created(plane, docker_image="me/comfy:1", exposed_ports=[8188])
    assert (status, "api_key" in made) == (201, False), made
    session = running(plane, made["session"]["id"])
    assert (session["docker_image"], session.get("model_id")) == ("me/comfy:1", None)
    assert ask(f"{session['api_endpoint']}/health")[0] == 200
    ended(plane, simulator, made["session"]["id"])


def test_what_vast_ai_cannot_serve_is_said_at_once(plane: Plane, simulator: Simulator) -> None:
    creates = len(simulator.ask("journal?endpoint=create")["calls"])
    for fields, said in (
        ({"model_id": MODEL, "docker_image": "me/comfy:1"}, "me/comfy:1"),
        ({"model_id": MODEL, "on_start_cmd": "nvidia-smi"}, "on_start"),
    ):
        status, refused = created(plane, **fields)
        assert (status, said in refused["error"]) == (400, True), refused
    assert len(simulator.ask("journal?endpoint=create")["calls"]) == creates
    assert ask(f"{api(plane)}/sessions?status=provisioning")[1]["count"] == 0
