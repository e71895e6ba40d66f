from __future__ import annotations

import pytest

from controlplane.simulators.clock import ManualClock
from controlplane.simulators.vastai import VastMarketplace
from tests.unit.simulators.vast import Vast


@pytest.fixture
def vast() -> Vast:
    clock = ManualClock()
    return Vast(VastMarketplace(clock), clock)
