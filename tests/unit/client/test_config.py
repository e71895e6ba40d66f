"""Where endpoint and key come from, and where a key never goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gpuplane_client.config import Config, discover, is_loopback, split_endpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "endpoints.json").write_text(json.dumps({"grpc": "10.0.0.5:8080"}))
    (tmp_path / "credentials.json").write_text(json.dumps({"account": "a", "keys": {"gpuplane": "gp_file"}}))
    (tmp_path / "operator.key").write_text("op_file\n")
    return tmp_path


@pytest.mark.parametrize(
    ("environ", "operator", "found"),
    [
        ({}, False, Config("10.0.0.5:8080", "gp_file")),
        ({}, True, Config("10.0.0.5:8080", "op_file")),
        ({"GPUPLANE_KEY": "gp_env"}, False, Config("10.0.0.5:8080", "gp_env")),
        ({"GPUPLANE_KEY": "gp_env"}, True, Config("10.0.0.5:8080", "gp_env")),
        ({"GPUPLANE_ENDPOINT": "127.0.0.1:9"}, False, Config("127.0.0.1:9", "gp_file")),
        ({"GPUPLANE_ENDPOINT": "stranger:9"}, False, Config("stranger:9", "")),
        ({"GPUPLANE_ENDPOINT": "stranger:9"}, True, Config("stranger:9", "")),
        ({"GPUPLANE_ENDPOINT": "stranger:9", "GPUPLANE_KEY": "k"}, False, Config("stranger:9", "k")),
    ],
)
def test_discover(folder: Path, environ: dict[str, str], operator: bool, found: Config) -> None:
    assert discover(folder, operator=operator, environ=environ) == found
    assert discover(operator=operator, environ={"GPUPLANE_STATE": str(folder), **environ}) == found


def test_nothing_there(tmp_path: Path) -> None:
    assert discover(tmp_path, environ={}) == Config("127.0.0.1:8080", "")
    assert discover(tmp_path, operator=True, environ={}) == Config("127.0.0.1:8080", "")
    (tmp_path / "endpoints.json").write_text("{half")
    assert discover(tmp_path, environ={}) == Config("127.0.0.1:8080", "")


@pytest.mark.parametrize(
    ("endpoint", "split"),
    [
        ("h:1", ("h:1", False)),
        ("http://h:1", ("h:1", False)),
        ("http://h", ("h:80", False)),
        ("https://h", ("h:443", True)),
        ("grpcs://h:1", ("h:1", True)),
    ],
)
def test_split_endpoint(endpoint: str, split: tuple[str, bool]) -> None:
    assert split_endpoint(endpoint) == split


@pytest.mark.parametrize(
    ("endpoint", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("10.0.0.1:1", False),
        ("localhost.evil:1", False),
    ],
)
def test_is_loopback(endpoint: str, loopback: bool) -> None:
    assert is_loopback(endpoint) is loopback
