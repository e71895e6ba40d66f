"""docs/adding-a-provider.md, followed to the letter: its code, its settings, its commands and what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.plane import Plane, environment, eventually, pb, running_plane

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-provider.md"
BIN = Path(sys.executable).parent


def only(pattern: str) -> str:
    """What the page says in exactly one place."""
    found = set(re.findall(pattern, PAGE.read_text(), re.DOTALL))
    assert len(found) == 1, f"{pattern} stands {len(found)} times on the page"
    return str(found.pop())


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plane]:
    """Section 2, and the beginning of section 3."""
    (tmp_path / only(r"new folder as `(\w+\.py)`")).write_text(only(r"```python\n(.*?)```"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    plugins = only(r"\$ PYTHONPATH=\. GPUPLANE_PLUGINS=(\S+) GPUPLANE_LOCAL=0 gpuplane up")
    subprocess.run(["bash", "-c", only(r"\$ (ssh-keygen [^\n]+)")], cwd=tmp_path, check=True, timeout=20)
    with running_plane(plugins=plugins, local=False) as plane:
        eventually(lambda: plane.me.offers.ListOffers(pb.ListOffersRequest()).offers, what="the toy's offers")
        yield plane


def session() -> list[tuple[str, str]]:
    """The commands of section 3 that follow the start, each with what the page shows below it."""
    shown = only(r"second shell in the same folder:\n\n```\n(.*?)```")
    parts = re.split(r"^\$ ", shown, flags=re.MULTILINE)[1:]
    return [(part.partition("\n")[0], part.partition("\n")[2].strip()) for part in parts]


def general(text: str) -> str:
    """What is printed, without what differs from run to run."""
    text = re.sub(r"inst_\w+", "inst_X", text)
    return re.sub(r"[ \t]+$", "", re.sub(r"\d+(\.\d+)?", "N", text), flags=re.MULTILINE).strip()


def test_page_followed_to_the_letter(plane: Plane, tmp_path: Path) -> None:
    shell = environment(state=plane.state) | {"PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1", "COLUMNS": "100"}
    assert len(session()) == 5
    for command, shown in session():
        argv = ["bash", "-c", f"{command} 2>&1"]
        done = subprocess.run(argv, cwd=tmp_path, env=shell, capture_output=True, text=True, timeout=60)
        assert (done.returncode, general(done.stdout)) == (0, general(shown)), command


def test_a_kill_ends_its_machines_as_the_page_says(plane: Plane) -> None:
    instance = plane.rent(offer_id="toybox-small")
    plane.kill9()
    plane.start()

    def failed() -> bool:
        found = plane.me.instances.GetInstance(pb.GetInstanceRequest(id=instance.id))
        return bool(found.state == pb.INSTANCE_STATE_FAILED and found.state_reason == only(r"ends as `(\w+)`"))

    eventually(failed, 30, what="the instance to end")
