"""Planes for end-to-end tests; see tests/support/plane.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.plane import Plane, new_plane, running_plane
from tests.support.recipes import PLUGIN as RECIPES


@pytest.fixture(scope="module")
def shared_plane() -> Iterator[Plane]:
    """One running plane for all tests of a module: they leave it running and clean up what they rent."""
    with running_plane(local_simulated=True, plugins=RECIPES) as plane:
        yield plane


@pytest.fixture
def make_plane() -> Iterator[Callable[..., Plane]]:
    """Makes planes that are not started yet, for tests that kill or starve them: `make_plane(retention=60).start()`."""
    with ExitStack() as stack:

        def make(**settings: object) -> Plane:
            plane = new_plane(**settings)
            stack.callback(plane.close)
            return plane

        yield make
