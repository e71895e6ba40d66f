"""`gpuplane simulate` as its user sees it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from click.testing import CliRunner

from controlplane.cli.errors import Failure
from controlplane.cli.simulate import simulate
from controlplane.simulators import catalogue

_CODE = "from controlplane.cli.simulate import simulate; simulate()"


def failure(*arguments: str) -> str:
    """The one line that a refused command prints."""
    result = CliRunner().invoke(simulate, arguments)
    assert isinstance(result.exception, Failure)
    return result.exception.message


def test_it_says_how_to_use_it_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('{"stockout": 0.25}')
    argv = [sys.executable, "-c", _CODE, "vastai", "--faults", str(faults), "--offers", "3", "--key", "sesame"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as run:
        assert run.stdout is not None
        line = run.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert url is not None
        assert f"GPUPLANE_VASTAI_API_KEY=sesame GPUPLANE_VASTAI_URL={url.group(0)} gpuplane up" in line
        with urllib.request.urlopen(f"{url.group(0)}/_sim/config", timeout=20) as answer:
            assert json.load(answer)["stockout"] == 0.25
        with urllib.request.urlopen(f"{url.group(0)}/_sim/offers", timeout=20) as answer:
            assert len(json.load(answer)["offers"]) == 3
        run.send_signal(signal.SIGINT)
        assert run.wait(20) == 0


def test_a_taken_port_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert failure("vastai", "--port", str(port)) == f"cannot listen on 127.0.0.1:{port}: Address already in use"


def test_a_bad_faults_file_is_one_line_with_field_rule_and_value(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text('{"stockout": 7}')
    assert failure("vastai", "--faults", str(path)) == f"{path}: stockout: must be a probability from 0 to 1, not 7"
    missing = tmp_path / "none.json"
    assert failure("vastai", "--faults", str(missing)) == f"cannot read {missing}: No such file or directory"


def test_a_faults_file_that_is_no_json_object_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text("{stockout: 1}")
    said = failure("vastai", "--faults", str(path))
    assert said.startswith(f"{path} is not valid JSON: ")
    assert said.count(str(path)) == 1
    path.write_text("[1]")
    assert failure("vastai", "--faults", str(path)) == f"{path} must hold one JSON object"


def test_a_mistyped_switch_or_fault_is_told_its_neighbour(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text('{"lost_respones": 1}')
    said = failure("vastai", "--faults", str(path))
    assert said == f"{path}: there is no switch 'lost_respones'; did you mean lost_response?"
    path.write_text('{"queue": [{"endpoint": "create", "fault": "cutbody"}]}')
    said = failure("vastai", "--faults", str(path))
    assert said == f"{path}: there is no fault 'cutbody'; did you mean cut_body?"
    path.write_text('{"zzz": 1}')
    assert "GET /_sim/config" in failure("vastai", "--faults", str(path))


def test_sandboxes_are_entered_as_root_only() -> None:
    assert "only as root" in failure("tensordock", "--machines", "sandbox")


def test_every_market_has_its_model() -> None:
    parameter = next(one for one in simulate.params if one.name == "market")
    assert sorted(parameter.type.choices) == sorted(catalogue.NAMES)
