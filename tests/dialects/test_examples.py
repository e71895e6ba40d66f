"""Every documented exchange of every dialect, played on its port, on the main port, and by host name."""

from __future__ import annotations

import pytest

from controlplane.dialect import Dialect
from tests.dialects.conftest import SPOKEN, key_of, ways
from tests.dialects.runner import Play, differences, examples_of
from tests.support.plane import Plane


@pytest.mark.parametrize("way", range(3), ids=["port", "main", "host"])
@pytest.mark.parametrize("dialect", SPOKEN, ids=lambda dialect: dialect.name)
def test_documented_exchanges(plane: Plane, dialect: Dialect, way: int) -> None:
    Play(ways(plane, dialect)[way], key_of(plane, dialect)).all(examples_of(dialect.name))


@pytest.mark.parametrize(
    ("wanted", "got", "wrong"),
    [
        ({"a": 1}, {"a": 1}, 0),
        ({"a": 1}, {"a": "1"}, 1),
        ({"a": True}, {"a": 1}, 1),
        ({"a": 1}, {"a": 1, "b": 2}, 1),
        ({"a": 1, "...": None}, {"a": 1, "b": 2}, 0),
        ({"a": 1}, {}, 1),
        ({"a": None}, {"a": None}, 0),
        ({"a": None}, {}, 1),
        ([1, "..."], [1, 2], 0),
        ([1], [1, 2], 1),
        ("<time>", "2026-11-22T03:00:00Z", 0),
        ("<time>", "yesterday", 1),
        ("<int>", True, 1),
        ("<string>", "", 1),
    ],
)
def test_the_comparison_can_fail(wanted: object, got: object, wrong: int) -> None:
    assert len(differences(wanted, got, "body")) == wrong
