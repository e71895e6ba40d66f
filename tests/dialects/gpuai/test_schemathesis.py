"""GPU.ai: schemathesis drives the seed's own OpenAPI document against the dialect's port, through the real Envoy.

Every answer, to right and to wrong requests, must be one that the document describes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane.api.dialects.gpuai import GPUAI
from tests.dialects.conftest import key_of, ways
from tests.support.plane import Plane, running_plane
from tests.unit.dialects.test_gpuai_errors import DOCUMENT

ROOT = Path(__file__).parents[3]

CHECKS = (
    "response_schema_conformance",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "not_a_server_error",
)

# What the answers to creations name, and where it can be used next: the document has no links of its own, and without
# them no sequence of calls would ever meet a thing that exists.
LINKS = {
    ("/instances", "202"): [
        ("/instances/{id}", verb, "$response.body#/resource_id") for verb in ("get", "patch", "delete")
    ]
    + [("/operations/{id}", "get", "$response.body#/operation_id")],
    ("/ssh-keys", "201"): [("/ssh-keys/{id}", verb, "$response.body#/id") for verb in ("get", "delete")],
    ("/webhook-endpoints", "201"): [
        ("/webhook-endpoints/{id}", verb, "$response.body#/id") for verb in ("get", "delete")
    ],
}


def linked() -> Any:
    """The seed's document, with links."""
    document = json.loads(json.dumps(DOCUMENT))
    for (path, status), targets in LINKS.items():
        document["paths"][path]["post"]["responses"][status]["links"] = {
            f"{verb} {target}": {
                "operationRef": f"#/paths/{target.replace('/', '~1')}/{verb}",
                "parameters": {"path.id": value},
            }
            for target, verb, value in targets
        }
    return document


@pytest.fixture(scope="module")
def fresh_plane() -> Iterator[Plane]:
    """One of its own: thousands of wrong calls and some machines are nobody else's business."""
    with running_plane(local_simulated=True, stop_grace=1) as running:
        yield running


def run(plane: Plane, folder: Path, phases: str, *options: str) -> int:
    """Let schemathesis loose, and count the sequences of calls that it tried; fails with what it found."""
    (folder / "openapi.json").write_text(json.dumps(linked()))
    argv = [
        str(Path(sys.executable).with_name("schemathesis")), "run", "openapi.json",
        "--url", f"http://{ways(plane, GPUAI)[0].target}/v1",
        "--header", f"Authorization: Bearer {key_of(plane, GPUAI)}",
        "--phases", phases, "--checks", ",".join(CHECKS),
        "--generation-database", "none", "--no-color", "--warnings", "off", *options,
    ]  # fmt: skip
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.dialects.gpuai.schemathesis_hooks", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}\n{plane.tail}"
    for phase in phases.split(","):
        assert f"✅ {phase.capitalize()}" in done.stdout, done.stdout[-3000:]
    found = re.search(r"Scenarios: +(\d+)", done.stdout)
    return int(found[1]) if found else 0


def test_a_few_examples(fresh_plane: Plane, tmp_path: Path) -> None:
    assert run(fresh_plane, tmp_path, "coverage,fuzzing,stateful", "--max-examples", "8", "--seed", "4")


@pytest.mark.slow
def test_many_examples(fresh_plane: Plane, tmp_path: Path) -> None:
    """Hypothesis ends the sequences early when the replay of one goes another way, as it may where time matters: an
    instance that has ended by then. So they are begun anew until there were enough."""
    scenarios = run(fresh_plane, tmp_path, "coverage,fuzzing,stateful", "--max-examples", "150")
    for _ in range(20):
        if scenarios >= 150:
            return
        scenarios += run(fresh_plane, tmp_path, "stateful", "--max-examples", "150")
    raise AssertionError(f"only {scenarios} sequences of calls in 20 runs")
