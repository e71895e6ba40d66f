"""`gpuplane credentials`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from gpuplane.v1 import provider_credential_pb2 as pb
from gpuplane.v1 import provider_credential_service_pb2 as service

from tests.unit.cli.conftest import Run
from tests.unit.client.fake import FakePlane

HELD = pb.ProviderCredential(id="cred_1", provider="vastai", name="mine", fingerprint="c10d7f1b6ee1", secret_held=True)
GONE = pb.ProviderCredential(
    id="cred_2", provider="ionet", name="old", fingerprint="0123456789ab", revoke_time=Timestamp(seconds=1)
)
KEY = "vk-0123456789abcdef"


def test_add_reads_the_key_from_a_file(cli: Run, plane: FakePlane, tmp_path: Path) -> None:
    plane.on("CreateProviderCredential", HELD)
    (tmp_path / "key").write_text(f"{KEY}\n")
    result = cli("credentials", "add", "vastai", "mine", "--secret-file", "key")
    assert result.out == "cred_1 is used for vastai from now on\n"
    asked = plane.requests("CreateProviderCredential")[0]
    assert (asked.provider, asked.name, asked.secret) == ("vastai", "mine", KEY)


def test_add_reads_the_key_from_a_pipe(cli: Run, plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    plane.on("CreateProviderCredential", HELD)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{KEY}\n".encode())))
    result = cli("credentials", "add", "vastai", "-o", "json")
    assert json.loads(result.out)["id"] == "cred_1"
    asked = plane.requests("CreateProviderCredential")[0]
    assert (asked.name, asked.secret) == ("vastai", KEY)
    assert KEY not in result.out + result.err


def test_add_takes_no_key_as_an_argument(cli: Run, plane: FakePlane) -> None:
    assert cli("credentials", "add", "vastai", "mine", KEY).code == 2
    assert plane.requests("CreateProviderCredential") == []


def test_list_and_revoke(cli: Run, plane: FakePlane) -> None:
    answer = service.ListProviderCredentialsResponse(provider_credentials=[HELD, GONE])
    plane.on("ListProviderCredentials", answer)
    shown = cli("credentials", "list").out
    assert "in use" in shown
    assert "revoked, erased" in shown
    assert [c["id"] for c in json.loads(cli("credentials", "list", "-o", "json").out)] == ["cred_1", "cred_2"]
    plane.on("RevokeProviderCredential", HELD, GONE)
    result = cli("credentials", "revoke", "cred_1")
    assert result.out == "cred_1 (mine) is revoked\n"
    assert "keep the key valid" in result.err
    assert cli("credentials", "revoke", "cred_2").err == ""
