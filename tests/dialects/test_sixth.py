"""Adding a dialect takes a proto, a folder and one line of the registry: done to a copy of the tree, and served."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from controlplane.dialect import Dialect
from tests.dialects.conftest import key_of, ways
from tests.dialects.runner import Play
from tests.support.plane import running_plane

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "sixth"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of everything that is generated or run."""
    for name in ("src", "proto", "gen", "envoy", "clients/python", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("buf.yaml", "buf.gen.yaml", "pyproject.toml"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


def test_one_proto_one_folder_one_line(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proto = tree / "proto/gpuplane/dialects/sixth/v1"
    proto.mkdir(parents=True)
    shutil.copy(HERE / "greetings.proto", proto)
    folder = tree / "src/controlplane/api/dialects/sixth"
    folder.mkdir()
    shutil.copy(HERE / "__init__.py", folder)
    registry = tree / "src/controlplane/bootstrap/dialects.py"
    line = "DIALECTS = (*DIALECTS, __import__('controlplane.api.dialects.sixth', fromlist=['SIXTH']).SIXTH)\n"
    before, after = registry.read_text().split("\n\n\ndef ", 1)
    registry.write_text(f"{before}\n{line}\n\ndef {after}")
    subprocess.run(["scripts/gen.sh"], cwd=tree, check=True, capture_output=True)

    paths = ":".join(str(tree / name) for name in ("src", "gen/python", "clients/python"))
    monkeypatch.setenv("PYTHONPATH", paths)
    with running_plane(local=False) as plane:
        sixth = Dialect("sixth", (), 6, (), (), hosts=("sixth.example",))
        key = key_of(plane, sixth)
        assert key.startswith("sixth_")
        for way in ways(plane, sixth):
            play = Play(way, key, account=plane.account_id, theirs=plane.key)
            play.one(_greet("ada", 201, {"text": "hello ada of ${account}"}))
            play.one(_greet("nobody", 418, {"sixth": "INVALID_FIELD"}))
            play.one(_greet("ada", 418, {"sixth": "KEY_MISSING"}, key="none"))
            play.one(_greet("ada", 418, {"sixth": "KEY_INVALID"}, key="${theirs}"))
        play = Play(ways(plane, sixth)[0], key)
        play.one({"name": "", "request": {"method": "GET", "path": "/x"}, "response": {"status": 418}})


def _greet(name: str, status: int, body: object, **request: str) -> dict[str, object]:
    asked = {"method": "GET", "path": f"/sixth/greet/{name}"} | request
    return {"name": f"greet {name}", "request": asked, "response": {"status": status, "body": body}}
