"""One machine, whoever rented it: each dialect shows it under the same id, in its own words; the shopper's shows those
that it rented."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from controlplane.dialect import Dialect
from tests.dialects.conftest import SPOKEN, key_of, ways
from tests.support.plane import Plane, pb

GPUAI = {"gpu_type": "cpu", "gpu_count": 1, "tier": "on_demand"}
HOONIFY = {"sku": "cpu", "gpus": 1}
SHOPPER = {"offer_id": "local-cpu", "workload_type": "batch", "reservation_hours": 1}
RENTALS = {"gpuai": "/v1/instances", "hoonify": "/v1/instances", "shopper": "/api/v1/sessions"}
SHOPPER_WORDS = {pb.INSTANCE_STATE_RUNNING: "running", pb.INSTANCE_STATE_TERMINATED: "stopped"}

WORDS = {
    pb.INSTANCE_STATE_RUNNING: {"gpuai": "running", "hoonify": "ready"},
    pb.INSTANCE_STATE_TERMINATED: {"gpuai": "terminated", "hoonify": "terminated"},
}


@pytest.fixture
def call(plane: Plane) -> Callable[..., tuple[int, Any]]:
    """A call of a dialect on its own port."""
    dialects = {dialect.name: dialect for dialect in SPOKEN}

    def made(name: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
        dialect: Dialect = dialects[name]
        headers = {"Authorization": f"Bearer {key_of(plane, dialect)}", "Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body).encode()
        reply = ways(plane, dialect)[0].call(method, path, headers, sent)
        return reply.status, reply.body

    return made


def _rented(creator: str, plane: Plane, call: Callable[..., tuple[int, Any]]) -> str:
    if creator == "gpuplane":
        return str(plane.create().instance_id)
    if creator == "gpuai":
        status, operation = call("gpuai", "POST", "/v1/instances", GPUAI)
        assert status == 202
        return str(operation["resource_id"])
    if creator == "shopper":
        status, made = call("shopper", "POST", "/api/v1/sessions", SHOPPER | {"consumer_id": uuid.uuid4().hex})
        assert status == 201, made
        return str(made["session"]["id"])
    status, made = call("hoonify", "POST", "/v1/instances", HOONIFY)
    assert status == 201
    return str(made["id"])


@pytest.mark.parametrize("creator", ["gpuplane", "gpuai", "hoonify", "shopper"])
def test_an_instance_of_one_is_seen_in_all(creator: str, plane: Plane, call: Callable[..., tuple[int, Any]]) -> None:
    id = _rented(creator, plane, call)
    for state in (pb.INSTANCE_STATE_RUNNING, pb.INSTANCE_STATE_TERMINATED):
        row = _reaching(plane, id, state)
        for name, word in WORDS[state].items():
            status, shown = call(name, "GET", f"/v1/instances/{id}")
            assert (status, shown["id"], shown["status"]) == (200, id, word)
            listed = {one["id"]: one for one in call(name, "GET", "/v1/instances?limit=200")[1]["data"]}
            assert listed[id] == shown
        status, session = call("shopper", "GET", f"/api/v1/sessions/{id}")
        assert (status, session.get("status")) == ((200, SHOPPER_WORDS[state]) if creator == "shopper" else (404, None))
        if state == pb.INSTANCE_STATE_RUNNING:
            assert call("gpuai", "GET", f"/v1/instances/{id}")[1]["connection"]["port"] == row.connection.ssh_port
            ssh = call("hoonify", "GET", f"/v1/instances/{id}")[1]["endpoints"]["ssh"]
            assert ssh["port"] == row.connection.ssh_port
            _ended_by(creator, id, plane, call)


def _ended_by(creator: str, id: str, plane: Plane, call: Callable[..., tuple[int, Any]]) -> None:
    """By another API than the one that rented it."""
    if creator == "gpuplane":
        assert call("gpuai", "DELETE", f"/v1/instances/{id}")[0] == 202
    elif creator == "gpuai":
        assert call("hoonify", "POST", f"/v1/instances/{id}/terminate", {"force": True})[0] == 200
    else:
        plane.terminate(id)


def _reaching(plane: Plane, id: str, state: int) -> Any:
    ends = time.monotonic() + 30
    while (row := plane.me.instances.GetInstance(pb.GetInstanceRequest(id=id))).state != state:
        assert time.monotonic() < ends, f"{row}\n{plane.tail}"
        time.sleep(0.05)
    return row


@pytest.mark.parametrize("creator", ["gpuai", "hoonify", "shopper"])
def test_a_stranger_sees_nothing_of_it(creator: str, plane: Plane, call: Callable[..., tuple[int, Any]]) -> None:
    stranger = plane.new_account("a stranger of the dialects")
    formats = {"gpuai": "gpuai_live", "hoonify": "hoon_sk_live", "shopper": "shopper_live"}
    id = _rented(creator, plane, call)
    for dialect in SPOKEN:
        scopes = ["instances:read", "instances:write"]
        made = plane.operator.keys.CreateApiKey(
            pb.CreateApiKeyRequest(
                name="s", account_id=stranger.account_id, key_format=formats[dialect.name], scopes=scopes
            )
        )
        way = ways(plane, dialect)[0]
        headers = {"Authorization": f"Bearer {made.secret}"}
        rentals = RENTALS[dialect.name]
        assert way.call("GET", f"{rentals}/{id}", headers, None).status == 404
        listed = way.call("GET", rentals, headers, None).body
        assert listed["sessions" if dialect.name == "shopper" else "data"] == []
        end = ("POST", f"{rentals}/{id}/terminate") if dialect.name == "hoonify" else ("DELETE", f"{rentals}/{id}")
        assert way.call(*end, headers, None).status == 404
    plane.terminate(id)
