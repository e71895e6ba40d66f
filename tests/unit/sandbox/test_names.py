"""Labels, and what is computed from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.sandbox import names


@pytest.mark.parametrize("label", ["gp-d-i-1", "a", "a" * 60, "0-9"])
def test_good_labels(label: str) -> None:
    assert names.is_label(label)


@pytest.mark.parametrize("label", ["", "a" * 61, "-a", "a-", "A", "a_b", "a.b", "../a", "a/b", "a\n", "ä"])
def test_bad_labels(label: str) -> None:
    assert not names.is_label(label)


def test_uids_are_distinct_and_unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    uids = {names.machine_uid("tag", f"gp-d-{number}-1") for number in range(1000)}
    assert len(uids) == 1000
    assert all(0x70000000 <= uid < 0x80000000 for uid in uids)
    assert names.machine_uid("tag", "gp-d-1-1") != names.machine_uid("other", "gp-d-1-1")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert names.machine_uid("tag", "gp-d-1-1") == 1000


def test_tag_follows_the_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert names.plane_tag(tmp_path / "link") == names.plane_tag(tmp_path)
    assert names.plane_tag(tmp_path / "other") != names.plane_tag(tmp_path)
