"""A session whose private key was lost: another key, a real SSH client, a control plane that is killed meanwhile."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.local_plane import find_tool
from tests.support.plane import Answer, Plane, eventually

JSON = {"content_type": "application/json"}
ASKED = {"consumer_id": "rekey", "offer_id": "local-cpu", "workload_type": "ssh", "reservation_hours": 1}


def test_a_new_key_lets_in_beside_the_old_one_and_outlives_the_plane(
    make_plane: Callable[..., Plane], tmp_path: Path
) -> None:
    plane = make_plane().start()
    made = plane.rest("POST", "/api/v1/sessions", ASKED, key="", **JSON)
    assert made.status == 201, made
    path = f"/api/v1/sessions/{made.json['session']['id']}"
    session = eventually(lambda: _running(plane.rest("GET", path, key="")), 30, what="the session to run")
    first = _identity(tmp_path / "first", made.json["ssh_private_key"])
    _run(session, first, "echo kept > /root/file")

    again = plane.rest("POST", f"{path}/rekey", {}, key="", **JSON)
    assert again.status == 200, again
    assert again.json["session"]["id"] == session["id"]
    second = _identity(tmp_path / "second", again.json["ssh_private_key"])
    assert second.read_text() != first.read_text()
    assert _run(session, second, "cat /root/file") == "kept\n"
    assert _run(session, first, "cat /root/file") == "kept\n"

    plane.kill9()
    assert _run(session, second, "cat /root/file") == "kept\n"
    plane.start()
    assert _run(session, second, "cat /root/file") == "kept\n"
    assert plane.rest("DELETE", path, key="").status == 200


def _running(answer: Answer) -> Any:
    return answer.json if answer.json["status"] == "running" else None


def _identity(path: Path, pem: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(pem)
    return path


def _run(session: Any, identity: Path, command: str) -> str:
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "BatchMode=yes")
    argv = [find_tool("ssh"), "-F", "none", "-i", str(identity), "-p", str(session["ssh_port"])]
    argv += [text for option in options for text in ("-o", option)]
    argv += [f"{session['ssh_user']}@{session['ssh_host']}", command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done
    return done.stdout
