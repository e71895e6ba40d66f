"""Simulators in processes of their own, and the vendors' clients in their venv."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
BIN = HERE.parents[1] / ".fidelity" / "venv" / "bin"
KEY = "fidelity-key"
COMMAND_S = 60.0


@dataclass(frozen=True)
class Vendors:
    """The vendors' clients in front of one simulator. `environment` keeps them away from the user's own keys."""

    url: str
    environment: dict[str, str]

    def vastai(self, *argv: object, key: str = KEY) -> subprocess.CompletedProcess[str]:
        """Vast.ai's own command line. It exits with 0 on most errors: read what it printed."""
        command = [str(BIN / "vastai"), *map(str, argv)]
        return subprocess.run(
            command, env=self.environment | {"VAST_API_KEY": key}, capture_output=True, text=True, timeout=COMMAND_S
        )

    def vastai_json(self, *argv: object) -> Any:
        """What it prints with --raw."""
        done = self.vastai(*argv, "--raw")
        assert done.stdout.strip(), done.stderr
        return json.loads(done.stdout)

    def script(self, name: str) -> Any:
        """The JSON that a script of this folder prints, run by the venv's Python: it may import the vendors' SDKs."""
        command = [str(BIN / "python"), str(HERE / name), self.url, KEY]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=2 * COMMAND_S)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def vast(tmp_path: Path) -> Iterator[Vendors]:
    """A Vast.ai of our own."""
    yield from _simulated("vastai", tmp_path)


@pytest.fixture(scope="module")
def ionet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendors]:
    """An io.net of our own, for all tests of a module."""
    yield from _simulated("ionet", tmp_path_factory.mktemp("ionet"))


def _simulated(market: str, home: Path) -> Iterator[Vendors]:
    if not (BIN / "vastai").exists():
        pytest.fail("the vendors' clients are not installed: make .fidelity/venv/bin/vastai")
    command = [sys.executable, "-m", "controlplane", "simulate", market, "--key", KEY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            announced = re.search(r"http://[\d.]+:\d+", process.stdout.readline())
            assert announced is not None, f"the simulator ended with {process.poll()}"
            yield Vendors(announced[0], _environment(announced[0], home))
        finally:
            process.terminate()


def _environment(url: str, home: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {
        "HOME": str(home), "XDG_CONFIG_HOME": f"{home}/.config", "XDG_CACHE_HOME": f"{home}/.cache",
        "XDG_STATE_HOME": f"{home}/.local/state", "NO_COLOR": "1", "VAST_URL": url, "VASTAI_NO_UPDATE_CHECK": "1",
        "IOCLOUD_BASE_URL": url, "IOCLOUD_DISABLE_KEYRING": "1",
    }  # fmt: skip
