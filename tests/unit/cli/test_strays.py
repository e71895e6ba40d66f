"""`strays`: what is shown, what is asked for, and with whose key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gpuplane.v1 import stray_pb2 as pb
from gpuplane.v1.stray_service_pb2 import ListStraysResponse

from tests.unit.cli import canned
from tests.unit.cli.conftest import Run
from tests.unit.client.fake import FakePlane

ID = "stray_" + "0" * 25 + "a"
FOREIGN = pb.Stray(
    id=ID, kind=pb.STRAY_KIND_FOREIGN, provider="vastai", machine_id="1234567", label="gp-d-x-1",
    provider_status="running", price_per_hour=canned.PRICE, first_seen_time=canned.BEGAN, instance_id=canned.ID,
)  # fmt: skip
WISHED = pb.Stray(id=ID, kind=pb.STRAY_KIND_ORPHAN, wish=pb.STRAY_WISH_DESTROY, error="no answer", account_id="acct_1")


@pytest.fixture
def cli(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line of an operator."""
    monkeypatch.delenv("GPUPLANE_KEY")
    (tmp_path / ".gpuplane").mkdir()
    (tmp_path / ".gpuplane" / "operator.key").write_text("op_secret\n")
    return cli


def test_list(cli: Run, plane: FakePlane) -> None:
    plane.on("ListStrays", ListStraysResponse(strays=[FOREIGN, WISHED]))
    result = cli("strays", "list", "--provider", "vastai", "--kind", "foreign")
    heading, first, second = result.out.splitlines()
    assert heading.split() == ["ID", "KIND", "PROVIDER", "MACHINE", "STATUS", "PRICE", "SEEN", "WISH"]
    for part in (ID, "foreign", "vastai", "$0.45/h"):
        assert part in first
    assert "orphan" in second
    assert "destroy" in second
    asked = plane.requests("ListStrays")[0]
    assert (asked.provider, asked.kind) == ("vastai", pb.STRAY_KIND_FOREIGN)
    assert plane.calls[0].metadata["authorization"] == "Bearer op_secret"


def test_list_as_json_and_empty(cli: Run, plane: FakePlane) -> None:
    plane.on("ListStrays", ListStraysResponse(strays=[FOREIGN]))
    (shown,) = json.loads(cli("strays", "list", "-o", "json").out)
    assert (shown["id"], shown["kind"]) == (ID, "STRAY_KIND_FOREIGN")
    plane.on("ListStrays", ListStraysResponse())
    result = cli("strays", "list")
    assert (result.out, result.err) == ("", "no strays\n")


def test_get(cli: Run, plane: FakePlane) -> None:
    plane.on("GetStray", WISHED)
    out = cli("strays", "get", ID).out
    assert "no answer" in out
    assert "orphan" in out


def test_adopt(cli: Run, plane: FakePlane) -> None:
    plane.on("AdoptStray", FOREIGN)
    result = cli("strays", "adopt", ID, "--account", "acct_1")
    assert canned.ID in result.out
    asked = plane.requests("AdoptStray")[0]
    assert (asked.id, asked.account_id) == (ID, "acct_1")
    assert cli("strays", "adopt", ID).code == 2


def test_destroy_asks_first(cli: Run, plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    plane.on("DestroyStray", WISHED)
    assert json.loads(cli("strays", "destroy", ID, "--yes", "-o", "json").out)["wish"] == "STRAY_WISH_DESTROY"
    assert plane.requests("DestroyStray")[0].id == ID
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")
    assert cli("strays", "destroy", ID).code != 0
    assert len(plane.requests("DestroyStray")) == 1
