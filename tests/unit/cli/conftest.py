from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gpuplane_client.retry
import pytest
from tenacity import wait_none

from controlplane.cli.app import run
from tests.unit.client.fake import FakePlane


@dataclass
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def plane() -> Iterator[FakePlane]:
    with FakePlane() as fake:
        yield fake


@pytest.fixture
def cli(plane: FakePlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line in a folder and a home of its own, against the fake server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GPUPLANE_ENDPOINT", plane.endpoint)
    monkeypatch.setenv("GPUPLANE_KEY", "gp_test")
    monkeypatch.delenv("COLUMNS", raising=False)  # xdist's, not the user's
    monkeypatch.setattr(gpuplane_client.retry, "_jitter", wait_none())

    def call(*arguments: str) -> Result:
        capfd.readouterr()
        code = run(arguments)
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return call
