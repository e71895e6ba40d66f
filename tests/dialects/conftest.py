"""One plane for all tests of dialects, and the three ways to reach each of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from controlplane.bootstrap.dialects import DIALECTS
from controlplane.dialect import CANONICAL, Dialect
from tests.dialects.runner import Way
from tests.support.plane import Plane, running_plane

SPOKEN = [dialect for dialect in DIALECTS if dialect.name != CANONICAL.name]


@pytest.fixture(scope="session")
def plane() -> Iterator[Plane]:
    with running_plane(local_simulated=True, stop_grace=1) as running:
        yield running


def key_of(plane: Plane, dialect: Dialect) -> str:
    """The first account's key of that dialect."""
    return str(json.loads((plane.state / "credentials.json").read_text())["keys"][dialect.name])


def ways(plane: Plane, dialect: Dialect) -> list[Way]:
    """Its own port, the main port, and the main port under its host name."""
    endpoints = json.loads((plane.state / "endpoints.json").read_text())
    port, main = urlsplit(endpoints[dialect.name]).netloc, urlsplit(endpoints["rest"]).netloc
    host = next(domain for domain in dialect.hosts if "*" not in domain)
    return [Way("port", port), Way("main", main), Way("host", main, host)]
