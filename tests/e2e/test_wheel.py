"""The built wheel runs outside the clone: template, shim, descriptor image and migrations are inside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_runs_outside_the_clone(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True, timeout=120)
    (wheel,) = tmp_path.glob("gpuplane-*.whl")
    unpacked = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(unpacked)
    state = tmp_path / "state"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GPUPLANE_", "PYTHON"))}
    # -P and this path: our packages come from the wheel, not from the clone's editable install.
    command = [
        sys.executable,
        "-P",
        "-c",
        "import controlplane.__main__ as m; m.main()",
        "up",
        "--state",
        str(state),
        "--port",
        "0",
    ]
    plane = subprocess.Popen(
        command, cwd=tmp_path, env=environment | {"PYTHONPATH": str(unpacked), "GPUPLANE_LOCAL": "0"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not (state / "endpoints.json").exists():
            assert plane.poll() is None, plane.stdout.read() if plane.stdout else ""
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert json.loads((state / "endpoints.json").read_text())["grpc"].startswith("127.0.0.1:")
        where = "import controlplane, gpuplane.v1.instance_pb2 as p; print(controlplane.__file__, p.__file__)"
        maps = subprocess.run(
            [sys.executable, "-P", "-c", where], env=environment | {"PYTHONPATH": str(unpacked)}, cwd=tmp_path,
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert maps.count(str(unpacked)) == 2
    finally:
        plane.send_signal(signal.SIGTERM)
        assert plane.wait(20) == 0
