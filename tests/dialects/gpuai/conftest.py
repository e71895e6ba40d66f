"""An account of this dialect's tests, seen through its own port."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.api.dialects.gpuai import GPUAI
from tests.dialects.conftest import ways
from tests.dialects.runner import Reply, Way
from tests.support.plane import Plane, eventually, pb
from tests.unit.dialects.test_gpuai_errors import CODES, PROBLEM

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9y9SYGOgcBlnK9Wj7oqOl0NkrH7R1T9vWm1Zu4a7Qe me@home"
CPU = {"gpu_type": "cpu", "gpu_count": 1, "tier": "on_demand"}
HOOK = {"url": "https://hooks.invalid/x", "event_types": ["instance.running"]}


class World:
    """An account of its own with one instance, one SSH key and one webhook endpoint, seen through this dialect."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.way: Way = ways(plane, GPUAI)[0]
        self.account = plane.new_account("gpuai bad input")
        self.key = self.new_key()
        self.instance = self.ask("POST", "/v1/instances", CPU).body["resource_id"]
        eventually(lambda: self.ask("GET", f"/v1/instances/{self.instance}").body["status"] == "running", 30)
        self.ssh_key = self.ask("POST", "/v1/ssh-keys", {"name": "taken", "public_key": SSH_KEY}).body["id"]
        self.hook = self.ask("POST", "/v1/webhook-endpoints", HOOK).body["id"]

    def new_key(self, *scopes: str) -> str:
        wish = pb.CreateApiKeyRequest(name="k", key_format="gpuai_live", scopes=scopes)
        return str(self.account.keys.CreateApiKey(wish).secret)

    def ask(self, method: str, path: str, body: Any = None, key: str | None = None, **headers: str) -> Reply:
        key = self.key if key is None else key
        sent = {"Authorization": f"Bearer {key}"} if key else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return self.way.call(method, path, sent, data)

    def census(self) -> Any:
        return [
            self.ask("GET", f"/v1/{kind}?limit=200").body for kind in ("instances", "ssh-keys", "webhook-endpoints")
        ]

    def close(self) -> None:
        self.ask("DELETE", f"/v1/instances/{self.instance}")


@pytest.fixture(scope="module")
def world(plane: Plane) -> Iterator[World]:
    made = World(plane)
    yield made
    made.close()


def refused(reply: Reply, status: int, code: str, said: str = "") -> None:
    """It is a problem of this dialect, and this one."""
    assert reply.headers["content-type"] == "application/problem+json", reply
    body = reply.body
    assert set(body) == set(PROBLEM["required"])
    assert body["code"] in CODES
    assert (reply.status, body["status"], body["code"]) == (status, status, code), reply
    assert body["type"] == f"https://api.gpu.ai/errors/{code}"
    assert body["request_id"]
    assert body["request_id"] == reply.headers.get("x-request-id", body["request_id"])
    assert said in body["detail"], body["detail"]
    for leak in ("Traceback", "grpc", "sqlite", "controlplane"):
        assert leak not in reply.text
