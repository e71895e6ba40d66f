"""Commands about this host: what they hand to bootstrap, and what doctor finds."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from controlplane import doctor
from controlplane.doctor import Check
from controlplane.sandbox.host import Host
from tests.unit.cli.conftest import Run


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The keyword arguments of each Settings.load, with bootstrap replaced by its words."""
    seen: list[dict[str, Any]] = []

    def load(**given: Any) -> SimpleNamespace:
        seen.append(given)
        return SimpleNamespace(state=given.get("state", Path(".gpuplane")), bind="127.0.0.1", port=0)

    settings = ModuleType("controlplane.settings")
    settings.Settings = SimpleNamespace(load=load)  # type: ignore[attr-defined]
    settings.SettingsError = ValueError  # type: ignore[attr-defined]
    bootstrap = ModuleType("controlplane.bootstrap")
    bootstrap.run_up = lambda _: 7  # type: ignore[attr-defined]
    bootstrap.migrate = lambda _: "at 0002"  # type: ignore[attr-defined]
    bootstrap.render_envoy = lambda _: "static_resources: {}\n"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "controlplane.settings", settings)
    monkeypatch.setitem(sys.modules, "controlplane.bootstrap", bootstrap)
    return seen


def test_up_passes_only_given_flags(cli: Run, loaded: list[dict[str, Any]], tmp_path: Path) -> None:
    assert cli("up").code == 7
    (tmp_path / "c.toml").touch()
    cli("up", "--state", "st", "--port", "0", "--bind", "::1", "--config", "c.toml", "--log-level", "debug")
    assert loaded == [
        {"config": None},
        {"config": Path("c.toml"), "state": Path("st"), "port": 0, "bind": "::1", "log_level": "debug"},
    ]


def test_migrate_and_render(cli: Run, loaded: list[dict[str, Any]]) -> None:
    assert cli("db", "migrate", "--database", "sqlite:///x").out == "at 0002\n"
    assert loaded[0]["database"] == "sqlite:///x"
    assert cli("envoy", "render").out == "static_resources: {}\n"


def test_doctor_shows_mends_and_fails_only_for_what_is_missing(
    cli: Run, loaded: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Check("envoy", "ok", "here"), Check("sandbox", "limited", "no bwrap", "apt-get install bubblewrap")]
    monkeypatch.setattr(doctor, "checks", lambda _: found)
    result = cli("doctor")
    assert result.code == 0
    assert "sandbox: apt-get install bubblewrap" in result.out
    assert json.loads(cli("doctor", "-o", "json").out)[1]["verdict"] == "limited"
    found.append(Check("state folder", "missing", "read-only", "choose another"))
    assert cli("doctor").code == 1


def test_checks_of_this_host(tmp_path: Path) -> None:
    settings: Any = SimpleNamespace(state=tmp_path / "deep" / "state", bind="127.0.0.1", port=0)
    found = {check.name: check for check in doctor.checks(settings)}
    assert {"python", "envoy", "state folder", "port", "ssh", "sandbox", "local model", "GPU"} <= set(found)
    assert found["envoy"].verdict == "ok"
    assert found["state folder"].verdict == "ok"
    assert not (tmp_path / "deep").exists()  # doctor only looks
    assert all(check.mend for check in found.values() if check.verdict == "missing")


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings: Any = SimpleNamespace(state=tmp_path, bind="127.0.0.1", port=taken.getsockname()[1])
        port = next(check for check in doctor.checks(settings) if check.name == "port")
    assert port.verdict == "limited"
    assert "--port" in port.mend


def test_a_state_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings: Any = SimpleNamespace(state=tmp_path / "file", bind="127.0.0.1", port=0)
    state = next(check for check in doctor.checks(settings) if check.name == "state folder")
    assert state.verdict == "missing"
    assert "--state" in state.mend


def test_a_host_without_sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Host, "refusal", "bubblewrap is not installed")
    settings: Any = SimpleNamespace(state=tmp_path, bind="127.0.0.1", port=0)
    sandbox = next(check for check in doctor.checks(settings) if check.name == "sandbox")
    assert (sandbox.verdict, sandbox.found) == ("limited", "bubblewrap is not installed")
    assert "apt-get install bubblewrap" in sandbox.mend


def test_the_demo_refuses_early_without_a_sandbox(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Host, "refusal", "no user namespaces")
    result = cli("demo")
    assert result.code == 1
    assert result.err == "error: no sandbox can be built here: no user namespaces; see `gpuplane doctor`\n"


def test_a_demo_whose_plane_dies_shows_its_last_words_and_leaves_nothing(
    cli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho no database today >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    result = cli("demo")
    assert result.code == 1
    assert "the plane stopped at once (exit code 3)" in result.err
    assert "no database today" in result.err
    assert list((tmp_path / "tmp").iterdir()) == []
