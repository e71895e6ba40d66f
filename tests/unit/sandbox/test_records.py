"""The folder of a machine, whatever state a crash left it in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.sandbox.records import MachineFolder, Record

RECORD = Record(
    label="gp-d-i-1",
    created_at=1,
    host_key="ssh-ed25519 AAAA",
    ssh_port=1022,
    model_port=0,
    sandboxed=True,
    bounds={"disk_mb": 1024},
    note={"price_nano_per_hour": 5},
)


@pytest.fixture
def folder(tmp_path: Path) -> MachineFolder:
    folder = MachineFolder(tmp_path / "gp-d-i-1")
    assert folder.claim()
    return folder


def test_only_one_claims(folder: MachineFolder) -> None:
    assert not MachineFolder(folder.path).claim()


def test_round_trip(folder: MachineFolder) -> None:
    assert folder.read() is None
    folder.write(RECORD)
    folder.write(replace(RECORD, pid=7))
    assert folder.read() == replace(RECORD, pid=7)


def test_newer_and_torn_records(folder: MachineFolder) -> None:
    folder.write(RECORD)
    path = folder.path / "record.json"
    path.write_text(path.read_text().replace("{", '{"unknown": 1, ', 1))
    assert folder.read() == RECORD, "a field of a later version is no reason to lose a machine"
    path.write_text('{"label": "gp')
    assert folder.read() is None
    path.write_text('{"label": "gp-d-i-1"}')
    assert folder.read() is None
    path.write_text("[]")
    assert folder.read() is None


def test_stop_time(folder: MachineFolder) -> None:
    assert folder.read_stop() is None
    folder.write_stop(42)
    assert folder.read_stop() == 42


def test_remove_takes_everything_and_repeats(folder: MachineFolder) -> None:
    folder.write(RECORD)
    (folder.home / "deep" / "er").mkdir(parents=True)
    (folder.path / "link").symlink_to("/etc")
    folder.remove()
    assert not folder.exists()
    folder.remove()
    assert Path("/etc/passwd").exists()


def test_a_record_cannot_be_written_after_removal(folder: MachineFolder) -> None:
    folder.remove()
    with pytest.raises(FileNotFoundError):
        folder.write(RECORD)
