"""The demo's story against scripted REST answers, with real ssh-keygen and a stand-in for ssh."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from gpuplane.v1 import instance_pb2, operation_pb2
from gpuplane.v1.instance_pb2 import Connection
from gpuplane.v1.offer_service_pb2 import ListOffersResponse
from gpuplane.v1.usage_service_pb2 import CostSummary, LedgerEntry, ListLedgerEntriesResponse

from controlplane.cli import demo
from controlplane.cli.output import to_dict
from controlplane.sandbox import runtime
from tests.unit.cli import canned
from tests.unit.cli.conftest import Run

ENTRY = LedgerEntry(instance_id=canned.ID, start_time=canned.BEGAN, end_time=canned.ENDED, amount=canned.PRICE)
CONNECTION = Connection()
CONNECTION.MergeFrom(canned.CONNECTION)
CONNECTION.model_url, CONNECTION.model_api_key = "http://127.0.0.1:1/v1", "mk"
ANSWERS: dict[str, Message] = {
    "GET /offers": ListOffersResponse(offers=[canned.offer()], total_size=9),
    "POST /instances": canned.operation(operation_pb2.OPERATION_STATE_PENDING),
    f"GET /instances/{canned.ID}/connection": CONNECTION,
    f"POST /instances/{canned.ID}/terminate": canned.operation(operation_pb2.OPERATION_STATE_RUNNING),
    f"POST /operations/{canned.OP}/wait": canned.operation(),
    f"GET /operations/{canned.OP}": canned.operation(),
    "GET /ledger": ListLedgerEntriesResponse(entries=[ENTRY]),
    "GET /usage/summary": CostSummary(total=canned.PRICE, hours=0.1),
}


class ScriptedPlane:
    """In place of the plane that the demo starts."""

    last_state = instance_pb2.INSTANCE_STATE_RUNNING
    url = "http://127.0.0.1:1"
    last_words = "a server line"
    wishes: list[Any]

    def __init__(self) -> None:
        self.folder = Path.cwd()
        ScriptedPlane.wishes = []

    def __enter__(self) -> ScriptedPlane:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def call(self, method: str, path: str, body: Any = None, *, show: bool = False) -> Any:
        path = path.removeprefix("/gpuplane/v1").partition("?")[0]
        if path == "/instances":
            ScriptedPlane.wishes.append(body)
        return to_dict(ANSWERS[f"{method} {path}"])

    def stream(self, path: str) -> Iterator[dict[str, Any]]:
        assert path == f"/gpuplane/v1/instances/{canned.ID}/watch"
        for state in (instance_pb2.INSTANCE_STATE_STARTING, self.last_state):
            yield {"instance": to_dict(canned.instance(state=state))}
            yield {"type": "INSTANCE_EVENT_TYPE_BOOKMARK"}


@pytest.fixture(autouse=True)
def _stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text("#!/bin/sh\necho I am root\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(runtime, "has_model", lambda: False)
    monkeypatch.setattr(demo, "Plane", ScriptedPlane)


def test_the_story(cli: Run) -> None:
    result = cli("demo")
    assert result.err == ""
    assert result.code == 0
    for part in (
        "9 in all",
        "Accepted before anything was bought",
        "running",
        "I am root",
        "stockout",
        "$0.45",
        "Done in",
    ):
        assert part in result.out
    (wish,) = ScriptedPlane.wishes
    assert wish["ssh_public_keys"][0].startswith("ssh-ed25519 ")
    assert "model" not in wish


def test_the_model_chapter(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"choices": [{"message": {"content": "A chip."}}], "usage": {"completion_tokens": 3}}
    monkeypatch.setattr(runtime, "has_model", lambda: True)
    monkeypatch.setattr(demo, "fetch", lambda *_, **__: io.BytesIO(json.dumps(answer).encode()))
    result = cli("demo")
    assert result.err == ""
    assert "A chip.\n(3 tokens" in result.out
    assert ScriptedPlane.wishes[0]["launch_mode"] == "LAUNCH_MODE_MODEL"


def test_a_failed_machine_ends_the_story_with_the_log(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedPlane, "last_state", instance_pb2.INSTANCE_STATE_FAILED)
    result = cli("demo")
    assert result.code == 1
    assert "error: the demo failed: the machine ended" in result.err
    assert "a server line" in result.err
