"""The short form of `make faults`: whole histories in virtual time, and a few rentals of real processes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults import real
from tests.faults.history import History
from tests.faults.markets import expected, strikes

CALLERS = 60


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_bad_day_on_three_marketplaces_in_virtual_time(seed: int) -> None:
    story = History(seed, CALLERS).run()
    repeat = f"repeat: History({seed}, {CALLERS}).run() of tests.faults.history"
    assert not story.broken, "\n".join([*story.lines[-400:], *story.broken, repeat])
    assert story.rentals.total() >= CALLERS / 2, "hardly anything was rented"
    assert story.kills >= 5
    assert len(story.struck) >= 15, f"too few faults struck: {story.struck}"


def test_a_seed_repeats_itself() -> None:
    assert History(7, 8).run().trace == History(7, 8).run().trace


def test_a_fault_counts_only_when_it_hit_a_call() -> None:
    calls: list[dict[str, Any]] = [
        {"endpoint": "create", "faults": ["stockout", "lost_response"], "outcome": "cut before"},
        {"endpoint": "create", "faults": ["stockout", "html_200"], "outcome": 429},
        {"endpoint": "list", "faults": ["stockout", "missing_row"], "outcome": 200},
    ]
    struck = strikes("vastai", calls)
    assert struck == {"stockout": 1, "lost_response": 1, "rate_limits": 1, "missing_row": 1}
    assert "html_200" in expected(struck)
    assert "stockout" not in expected(struck)


def test_rentals_of_real_processes_with_two_kills() -> None:
    verdict = real.run(real.Order(15, over_s=6.0, kill_every_s=(4.0, 6.0), most_kills=2, ready_s=25.0, seed=3))
    print(verdict)
    assert not verdict.broken, str(verdict)
    assert verdict.rentals.total() >= 6  # how many come up in time is this host's affair
    assert verdict.kills == 2
