"""`instances create --machines N`: several machines of one wish."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from gpuplane.v1 import instance_pb2, operation_pb2
from gpuplane.v1.instance_service_pb2 import CreateError, CreateResult, ReserveInstancesResponse

from tests.unit.cli import canned
from tests.unit.cli.conftest import Run
from tests.unit.client.fake import FakePlane, Refusal

CREATE = ("instances", "create", "--gpu", "H100", "--no-ssh-key")
IDS = {canned.OP: canned.ID, canned.OP[:-1] + "2": canned.OTHER_ID}


def _pending(op: str) -> CreateResult:
    return CreateResult(operation=operation_pb2.Operation(id=op, instance_id=IDS[op]))


REFUSED = CreateResult(error=CreateError(code=8, reason="QUOTA_EXCEEDED", message="that is the limit"))


def _ended(failing: str = "") -> Callable[[Any], Any]:
    def answer(request: Any) -> Any:
        state = (
            operation_pb2.OPERATION_STATE_FAILED if request.id == failing else operation_pb2.OPERATION_STATE_SUCCEEDED
        )
        made = canned.operation(state, reason="NO_CAPACITY" if request.id == failing else "")
        made.id, made.instance_id = request.id, IDS[request.id]
        return made

    return answer


@pytest.fixture(autouse=True)
def _server(plane: FakePlane) -> None:
    plane.on("ReserveInstances", ReserveInstancesResponse(results=[_pending(op) for op in IDS]))
    plane.on("WaitOperation", _ended())
    plane.on("GetInstance", lambda request: canned.instance(request.id, name=""))


def test_waits_for_all(cli: Run, plane: FakePlane) -> None:
    result = cli(*CREATE, "--machines", "2", "--at-least", "1", "--request-id", "r", "--name", "box")
    assert result.code == 0
    for id in IDS.values():
        assert f"{id} is running" in result.out
    asked = plane.requests("ReserveInstances")[0]
    assert (asked.count, asked.min_count, asked.request_id) == (2, 1, "r")
    assert (asked.create.name, asked.create.request_id, list(asked.create.requirements.gpu_types)) == (
        "box", "", ["H100"],
    )  # fmt: skip
    assert not plane.requests("CreateInstance")


def test_what_could_not_be_had_is_told_and_exits_4(cli: Run, plane: FakePlane) -> None:
    plane.on("ReserveInstances", ReserveInstancesResponse(results=[*map(_pending, IDS), REFUSED]))
    plane.on("WaitOperation", _ended(failing=next(iter(IDS))))
    result = cli(*CREATE, "--machines", "3", "-q")
    assert result.code == 4
    assert result.out == f"{canned.OTHER_ID}\n"
    assert "machine 3: QUOTA_EXCEEDED: that is the limit" in result.err
    assert f"{canned.ID}: NO_CAPACITY" in result.err
    assert "2 of 3 machines could not be had" in result.err


def test_json_is_an_array_also_of_one(cli: Run, plane: FakePlane) -> None:
    plane.on("ReserveInstances", ReserveInstancesResponse(results=[_pending(canned.OP)]))
    (shown,) = json.loads(cli(*CREATE, "--machines", "1", "-o", "json").out)
    assert (shown["id"], shown["state"]) == (
        canned.ID, instance_pb2.InstanceState.Name(instance_pb2.INSTANCE_STATE_RUNNING),
    )  # fmt: skip
    (accepted,) = json.loads(cli(*CREATE, "--machines", "1", "--no-wait", "-o", "json").out)
    assert accepted["id"] == canned.OP


def test_no_wait(cli: Run, plane: FakePlane) -> None:
    result = cli(*CREATE, "--machines", "2", "--no-wait")
    assert [line.split()[0] for line in result.out.splitlines()] == list(IDS.values())
    assert not plane.requests("WaitOperation")


def test_refused_as_a_whole(cli: Run, plane: FakePlane) -> None:
    plane.on("ReserveInstances", Refusal(grpc.StatusCode.FAILED_PRECONDITION, "NO_MATCHING_OFFER", "only 1 is left"))
    result = cli(*CREATE, "--machines", "2", "--at-least", "2")
    assert (result.code, result.out) == (1, "")
    assert "only 1 is left" in result.err


@pytest.mark.parametrize("more", [("--at-least", "1"), ("--machines", "2", "--at-least", "3"), ("--machines", "101")])
def test_mistakes_exit_2(cli: Run, plane: FakePlane, more: tuple[str, ...]) -> None:
    assert cli(*CREATE, *more).code == 2
    assert not plane.requests("ReserveInstances")


def test_template_script_ports_and_retries(cli: Run, plane: FakePlane, tmp_path: Path) -> None:
    plane.on("CreateInstance", operation_pb2.Operation(id=canned.OP, instance_id=canned.ID))
    (tmp_path / "begin.sh").write_text("apt-get update\necho done\n")
    more = ("--template", "vastai-t1", "--on-start", "begin.sh", "--port", "80", "--port", "443", "--retries", "0")
    assert cli(*CREATE, *more, "-q").code == 0
    asked = plane.requests("CreateInstance")[0]
    assert (asked.template_id, asked.on_start, list(asked.ports)) == (
        "vastai-t1", "apt-get update\necho done\n", [80, 443],
    )  # fmt: skip
    assert asked.HasField("max_retries")
    assert asked.max_retries == 0
