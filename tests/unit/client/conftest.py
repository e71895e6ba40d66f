from __future__ import annotations

from collections.abc import Iterator

import gpuplane_client.retry
import pytest
from tenacity import wait_none

from tests.unit.client.fake import FakePlane


@pytest.fixture
def plane() -> Iterator[FakePlane]:
    with FakePlane() as fake:
        yield fake


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries are counted in these tests, not waited for."""
    monkeypatch.setattr(gpuplane_client.retry, "_jitter", wait_none())
