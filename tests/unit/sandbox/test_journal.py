"""The machine's log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controlplane.sandbox.agent import journal


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "agent.log"


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def test_secrets_are_masked(log: Path) -> None:
    journal.Journal(_open(log), secrets=("sk-123", "")).write("key sk-123 given")
    assert log.read_text().endswith("key *** given\n")


def test_size_is_bounded(log: Path) -> None:
    book = journal.Journal(_open(log))
    for _ in range(2_000):
        book.write("x" * 10_000)
    assert log.stat().st_size <= journal.LIMIT_BYTES


def test_a_lost_file_is_no_reason_to_stop(log: Path) -> None:
    fd = _open(log)
    os.close(fd)
    journal.Journal(fd).write("nothing happens")
