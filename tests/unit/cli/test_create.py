"""`instances create`: what is asked for, what is shown while waiting, how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest
from google.type.money_pb2 import Money
from gpuplane.v1 import instance_pb2, operation_pb2
from gpuplane.v1.key_pb2 import SshKey
from gpuplane.v1.key_service_pb2 import ListSshKeysResponse
from gpuplane_client.retry import outage_policy

from tests.unit.cli import canned
from tests.unit.cli.conftest import Run
from tests.unit.client.fake import FakePlane, Refusal

PENDING = operation_pb2.Operation(id=canned.OP, instance_id=canned.ID, state=operation_pb2.OPERATION_STATE_PENDING)


@pytest.fixture(autouse=True)
def _server(plane: FakePlane) -> None:
    plane.on("CreateInstance", PENDING)
    plane.on("WaitOperation", canned.operation(operation_pb2.OPERATION_STATE_RUNNING), canned.operation())
    plane.on("GetInstance", canned.instance())


def test_waits_with_progress_and_says_how_to_log_in(cli: Run, plane: FakePlane, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA me\n")
    result = cli("instances", "create", "--gpu", "RTX 4090", "--max-price", "0.50")
    assert result.code == 0
    assert f"renting {canned.ID}" in result.err
    assert result.err.count("attempt 1: vastai-1 at $0.45/h: stockout (somebody was faster)") == 1
    assert "allocate: done in 2.5 s" in result.err
    assert f"{canned.ID} (trainer) is running: 1x RTX 4090, simulated, $0.45/h" in result.out
    assert "gpuplane instances ssh trainer" in result.out
    asked = plane.requests("CreateInstance")[0]
    assert list(asked.ssh_public_keys) == ["ssh-ed25519 AAAA me"]
    assert list(asked.requirements.gpu_types) == ["RTX 4090"]
    assert asked.max_price_per_hour == Money(currency_code="USD", nanos=500_000_000)
    assert asked.request_id


def test_all_options(cli: Run, plane: FakePlane) -> None:
    result = cli(
        *("instances", "create", "--offer", "local-cpu", "--ssh-key", "sshkey_1", "--name", "box", "--disk", "20"),
        *("--label", "team=a", "--env", "X=1", "--for", "2h", "--max-duration", "1d", "--idle", "30m"),
        *("--model", "m", "--quantization", "awq", "--image", "i", "--keep-disk", "--request-id", "r", "-q"),
    )
    assert result.out == f"{canned.ID}\n"
    asked = plane.requests("CreateInstance")[0]
    assert (asked.offer_id, asked.name, asked.disk_gb, asked.request_id) == ("local-cpu", "box", 20, "r")
    assert (list(asked.ssh_key_ids), dict(asked.labels), dict(asked.env)) == (["sshkey_1"], {"team": "a"}, {"X": "1"})
    assert (asked.reservation.seconds, asked.max_duration.seconds, asked.idle_timeout.seconds) == (7200, 86_400, 1800)
    assert (asked.launch_mode, asked.model, asked.image) == (instance_pb2.LAUNCH_MODE_MODEL, "m", "i")
    assert (asked.quantization, asked.preserve_disk) == ("awq", True)
    assert not asked.HasField("max_price_per_hour")


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--gpu", "RTX 3090"], 1),
        (["--gpu", "RTX 3090", "--count", "4"], 4),
        (["--gpu", "RTX 3090", "--count", "0"], 0),
        (["--gpu", "CPU"], 0),
        (["--min-vram", "24"], 0),
    ],
)
def test_a_named_gpu_is_rented_alone_unless_a_count_is_given(
    cli: Run, plane: FakePlane, arguments: list[str], count: int
) -> None:
    cli("instances", "create", *arguments, "--no-ssh-key", "--no-wait")
    assert plane.requests("CreateInstance")[0].requirements.gpu_count == count


def test_json_is_the_instance(cli: Run) -> None:
    result = cli("instances", "create", "--gpu", "cpu", "--no-ssh-key", "-o", "json")
    assert json.loads(result.out)["id"] == canned.ID


def test_no_wait(cli: Run, plane: FakePlane) -> None:
    result = cli("instances", "create", "--gpu", "cpu", "--no-ssh-key", "--no-wait")
    assert f"gpuplane operations wait {canned.OP}" in result.out
    assert not plane.requests("WaitOperation")
    json_result = cli("instances", "create", "--gpu", "cpu", "--no-ssh-key", "--no-wait", "-o", "json")
    assert json.loads(json_result.out)["id"] == canned.OP


def test_failure_names_reason_and_exits_4(cli: Run, plane: FakePlane) -> None:
    plane.on("WaitOperation", canned.operation(operation_pb2.OPERATION_STATE_FAILED, reason="NO_CAPACITY"))
    result = cli("instances", "create", "--gpu", "H100", "--no-ssh-key")
    assert result.code == 4
    assert "error: NO_CAPACITY: operation" in result.err
    assert "every offer was tried" in result.err
    assert "stockout" in result.err


def test_timeout_exits_5_and_says_that_the_work_goes_on(cli: Run, plane: FakePlane) -> None:
    plane.on("WaitOperation", PENDING)
    result = cli("instances", "create", "--gpu", "H100", "--no-ssh-key", "--timeout", "0s")
    assert result.code == 5
    assert "it goes on" in result.err


def test_a_server_lost_while_waiting_exits_3_and_names_the_operation(
    cli: Run, plane: FakePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpuplane_client.waiting.outage_policy", lambda _: outage_policy(0))
    plane.on("WaitOperation", Refusal(grpc.StatusCode.UNAVAILABLE, message="no healthy upstream"))
    result = cli("instances", "create", "--gpu", "H100", "--no-ssh-key")
    assert result.code == 3
    assert f"gpuplane operations wait {canned.OP}" in result.err


def test_refusal_exits_1(cli: Run, plane: FakePlane) -> None:
    plane.on("CreateInstance", Refusal(grpc.StatusCode.FAILED_PRECONDITION, "NO_MATCHING_OFFER", "nothing fits"))
    result = cli("instances", "create", "--gpu", "H100", "--no-ssh-key")
    assert result.code == 1
    assert result.err == "error: NO_MATCHING_OFFER: nothing fits (see what there is: gpuplane offers)\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say what to rent"),
        (["--offer", "x", "--gpu", "H100"], "leave out --gpu"),
        (["--gpu", "H100"], "there is no key in ~/.ssh"),
        (["--gpu", "H100", "--ssh-key", "nobody"], "no such file, and no stored key"),
        (["--gpu", "H100", "--no-ssh-key", "--for", "2 hours"], "write 90s, 30m, 2h"),
        (["--gpu", "H100", "--no-ssh-key", "--max-prise", "1"], "'--max-price'?"),
    ],
)
def test_mistakes_exit_2_before_anything_is_rented(cli: Run, plane: FakePlane, arguments: list[str], said: str) -> None:
    plane.on("ListSshKeys", ListSshKeysResponse())
    result = cli("instances", "create", *arguments)
    assert result.code == 2
    assert said in result.err
    assert not plane.requests("CreateInstance")


def test_stored_keys_by_name(cli: Run, plane: FakePlane) -> None:
    plane.on("ListSshKeys", ListSshKeysResponse(ssh_keys=[SshKey(id="sshkey_9", name="laptop")]))
    cli("instances", "create", "--gpu", "cpu", "--ssh-key", "laptop")
    assert list(plane.requests("CreateInstance")[0].ssh_key_ids) == ["sshkey_9"]
