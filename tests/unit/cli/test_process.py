"""The command as a process sees it: failures, exit codes, streams, ssh, completion, cost."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from gpuplane.v1 import instance_pb2, watch_pb2
from gpuplane.v1.instance_service_pb2 import ListInstancesResponse
from gpuplane.v1.watch_pb2 import BudgetAlert, InstanceEvent, StreamEnd

from controlplane.cli import ssh
from tests.unit.cli import canned
from tests.unit.cli.conftest import Run
from tests.unit.client.fake import FakePlane, Refusal

GPUPLANE = [sys.executable, "-m", "controlplane"]
LOST = Refusal(grpc.StatusCode.UNAVAILABLE, message="socket closed")
END = InstanceEvent(type=watch_pb2.INSTANCE_EVENT_TYPE_END, end=StreamEnd(reason=watch_pb2.STREAM_END_REASON_DONE))


def test_help_lists_every_command(cli: Run) -> None:
    result = cli("--help")
    assert result.code == 0
    for word in ("offers", "instances", "budgets", "doctor", "demo", "First steps", "Exit codes"):
        assert word in result.out
    assert max(map(len, result.out.splitlines())) <= 100


@pytest.mark.parametrize(
    "group", ["instances", "operations", "keys", "usage", "budgets", "webhooks", "accounts", "db", "envoy"]
)
def test_each_group_has_help(cli: Run, group: str) -> None:
    assert cli(group, "--help").code == 0
    assert cli(group).code in (0, 1, 2)


@pytest.mark.parametrize(
    ("arguments", "guess"),
    [
        (["instnces"], "'instances'"),
        (["instances", "lst"], "'list'"),
        (["ofers"], "'offers'"),
        (["offers", "--gpus", "x"], "'--gpu'"),
    ],
)
def test_did_you_mean(cli: Run, arguments: list[str], guess: str) -> None:
    result = cli(*arguments)
    assert result.code == 2
    assert f"Did you mean {guess}?" in result.err or guess in result.err.partition("Did you mean")[2]


def test_no_server_exits_3(cli: Run, unused_tcp_port: int) -> None:
    result = cli("offers", "--endpoint", f"127.0.0.1:{unused_tcp_port}")
    assert result.code == 3
    assert result.err.startswith(f"error: cannot reach the server at 127.0.0.1:{unused_tcp_port} (connection refused)")
    assert len(result.err.splitlines()) == 1


def test_a_refused_key_says_what_to_do(cli: Run, plane: FakePlane) -> None:
    plane.on("ListOffers", Refusal(grpc.StatusCode.UNAUTHENTICATED, "KEY_MISSING", "no key was sent"))
    result = cli("offers")
    assert result.code == 1
    assert "KEY_MISSING: no key was sent (set GPUPLANE_KEY" in result.err


def test_a_bug_is_one_line_too(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuplane_client.discover", lambda *_, **__: 1 / 0)
    result = cli("offers")
    assert result.code == 1
    assert result.err == "error: ZeroDivisionError: division by zero (GPUPLANE_DEBUG=1 shows where)\n"


def test_a_hanging_server_times_out(cli: Run, plane: FakePlane) -> None:
    plane.on("ListOffers", Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, message="Deadline Exceeded"))
    assert cli("offers").code == 5


def test_watch_bridges_a_cut_and_shows_rows(cli: Run, plane: FakePlane) -> None:
    snapshot = InstanceEvent(
        type=watch_pb2.INSTANCE_EVENT_TYPE_SNAPSHOT,
        instance=canned.instance(state=instance_pb2.INSTANCE_STATE_STARTING),
        event_time=canned.BEGAN,
        resume_token="t1",
    )
    running = InstanceEvent(
        type=watch_pb2.INSTANCE_EVENT_TYPE_CHANGED,
        instance=canned.instance(),
        previous_state=instance_pb2.INSTANCE_STATE_STARTING,
        event_time=canned.ENDED,
        resume_token="t2",
    )
    plane.on("WatchInstance", [snapshot, LOST], [running, END])
    result = cli("instances", "watch", canned.ID)
    assert result.code == 0
    first, second = result.out.splitlines()
    assert first.startswith(f"08:26:40  {canned.ID}  starting ")
    assert "starting → running" in second
    assert "local simulated" in second
    assert [r.resume_token for r in plane.requests("WatchInstance")] == ["", "t1"]


def test_watch_all_as_json_lines(cli: Run, plane: FakePlane) -> None:
    alert = BudgetAlert(budget_id="budget_1", threshold_percent=80, spent=canned.PRICE, limit=canned.PRICE)
    event = InstanceEvent(type=watch_pb2.INSTANCE_EVENT_TYPE_BUDGET_ALERT, budget_alert=alert, resume_token="t")
    plane.on("ListInstances", ListInstancesResponse(instances=[canned.instance()], resume_token="list"))
    plane.on("WatchInstances", [event, END])
    lines = [json.loads(line) for line in cli("instances", "watch", "-o", "json").out.splitlines()]
    assert [line["type"].removeprefix("INSTANCE_EVENT_TYPE_") for line in lines] == ["SNAPSHOT", "BUDGET_ALERT"]
    assert "passed 80 %: $0.45 of $0.45 spent" in cli("instances", "watch").out


def test_ssh_pins_the_host_key_and_passes_the_exit_code(
    cli: Run, plane: FakePlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@"\nfor a; do case $a in *known_hosts) cat "${a#*=}";; esac; done\nexit 7\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    plane.on("GetConnection", canned.CONNECTION)
    result = cli("instances", "ssh", canned.ID, "--", "nvidia-smi", "-L")
    assert result.code == 7
    lines = result.out.splitlines()
    assert "StrictHostKeyChecking=yes" in lines
    assert lines[lines.index("-p") :][:5] == ["-p", "4022", "root@127.0.0.1", "nvidia-smi", "-L"]
    assert "[127.0.0.1]:4022 ssh-ed25519 AAAAhostkey" in lines
    known_hosts = next(line.partition("=")[2] for line in lines if line.startswith("UserKnownHostsFile="))
    assert not Path(known_hosts).exists()


def test_ssh_to_a_machine_without_it_says_where_it_serves(cli: Run, plane: FakePlane) -> None:
    plane.on("GetConnection", instance_pb2.Connection(model_url="http://203.0.113.7:41000/v1"))
    result = cli("instances", "ssh", canned.ID)
    assert result.code != 0
    assert "the machine has no SSH; what it serves is at http://203.0.113.7:41000/v1" in result.err


def test_known_hosts_on_the_usual_port() -> None:
    usual = instance_pb2.Connection(ssh_host="h", ssh_port=22, ssh_host_key="k v")
    assert ssh.known_hosts_line(usual) == "h k v\n"


@pytest.mark.parametrize(("shell", "mark"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete ")])
def test_completion_scripts(cli: Run, shell: str, mark: str) -> None:
    result = cli("completion", shell)
    assert result.code == 0
    assert mark in result.out
    assert "_GPUPLANE_COMPLETE" in result.out


def _complete(line: str, plane: FakePlane) -> str:
    environment = {
        **os.environ,
        "_GPUPLANE_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        "GPUPLANE_ENDPOINT": plane.endpoint,
    }
    return subprocess.run(GPUPLANE, env=environment, capture_output=True, text=True, timeout=20).stdout


def test_completion_knows_commands_and_machines(plane: FakePlane) -> None:
    plane.on("ListInstances", ListInstancesResponse(instances=[canned.instance()]))
    assert "instances" in _complete("gpuplane inst", plane)
    assert "terminate" in _complete("gpuplane instances ter", plane)
    assert _complete("gpuplane instances get tr", plane) == "plain,trainer\n"


def test_a_closed_pipe_is_no_error(plane: FakePlane) -> None:
    plane.on("ListInstances", ListInstancesResponse(instances=[canned.instance() for _ in range(500)]))
    command = f"{' '.join(GPUPLANE)} instances list -o json --endpoint {plane.endpoint} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=20)
    assert done.stdout == "[\n"
    assert done.stderr == ""


def test_a_list_costs_less_than_half_a_second_of_cpu(plane: FakePlane, tmp_path: Path) -> None:
    instances = [canned.instance() for _ in range(50)]
    plane.on("ListInstances", ListInstancesResponse(instances=instances))
    costs = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [*GPUPLANE, "instances", "list", "--endpoint", plane.endpoint]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=20, cwd=tmp_path, env=os.environ | {"COLUMNS": "100"}
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert len(done.stdout.splitlines()) == 51, done.stderr
        costs.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    print(f"CPU of `gpuplane instances list`: {min(costs):.3f} s")
    assert min(costs) < 0.5
