"""Every way in which a shopper's session comes to its end, with a kill -9 at every port that the plane uses on the way:
the real adapter and the simulated Vast.ai, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from controlplane.domain.errors import InvalidArgument
from controlplane.domain.state import State
from tests.faults.session_stage import ENDING_S, SessionStage
from tests.unit.dialects.shopper_desk import Desk

HOUR_S = 3600.0
LEAD_S = 0.5  # how long before a moment the first kill comes
Kill = int | None
"""So many ports after an end began, or never."""


@dataclass(frozen=True)
class Ending:
    """A way to the end of a session: what it is asked for, and what is done once it runs. That tells the second of the
    session's life at which it is to end."""

    reason: str
    comes: Callable[[SessionStage, str, Kill], Awaitable[float]]
    asked: Mapping[str, Any] = field(default_factory=lambda: {"reservation_hours": 1})


async def _at(stage: SessionStage, id: str, second: float, kill: Kill, *, down: bool) -> float:
    """The end at a moment that nobody has to ask for; most of the time until then perhaps without a plane."""
    await stage.sleep_until(id, second - 120.0, down=down)
    await stage.sleep_until(id, second - LEAD_S, down=False)
    if kill is not None:
        stage.doom(kill)
    return second


async def _asked(stage: SessionStage, kill: Kill, what: Callable[[Desk], Coroutine[Any, Any, Any]]) -> None:
    """A call in the middle of whose work the plane dies; it is repeated until it is answered."""
    await asyncio.sleep(45.0)
    if kill is not None:
        stage.doom(kill)
    await stage.insist(what)


async def _done(stage: SessionStage, id: str, kill: Kill) -> float:
    await _asked(stage, kill, lambda desk: desk.done(id))
    return stage.since_creation_s(id, stage.row(id).stop_at)


async def _deleted(stage: SessionStage, id: str, kill: Kill) -> float:
    await _asked(stage, kill, lambda desk: desk.destroy(id))
    return stage.since_creation_s(id, stage.row(id).stop_at)


async def _expired(stage: SessionStage, id: str, kill: Kill) -> float:
    return await _at(stage, id, HOUR_S, kill, down=kill is not None)


async def _extended(stage: SessionStage, id: str, kill: Kill) -> float:
    """By an hour, once, however often it is asked for."""
    await _asked(stage, kill, lambda desk: desk.extend(id, 1, "longer"))
    await stage.spare()
    return await _at(stage, id, 2 * HOUR_S, None, down=kill is not None)


async def _hard_maximum(stage: SessionStage, id: str, kill: Kill) -> float:
    """Two hours are reserved, so ten more are the most."""
    with pytest.raises(InvalidArgument, match="within 12 hours in all, of which 2 are reserved"):
        await stage.desk.extend(id, 11)
    await stage.insist(lambda desk: desk.extend(id, 10))
    return await _at(stage, id, 12 * HOUR_S, kill, down=kill is not None)


async def _idle(stage: SessionStage, id: str, kill: Kill) -> float:
    """Nobody uses it any more."""
    stage.markets["vastai"].configure({"utilisation_percent": 0.0})
    while (since := stage.row(id).idle_since) is None:
        await asyncio.sleep(1.0)
    second = stage.since_creation_s(id, since) + 60.0
    await stage.sleep_until(id, second - LEAD_S, down=False)
    if kill is not None:
        stage.doom(kill)
    return second


ENDINGS = {
    "done": Ending("TERMINATED_BY_CALLER", _done),
    "deleted": Ending("TERMINATED_BY_CALLER", _deleted),
    "expired": Ending("LEASE_EXPIRED", _expired),
    "extended": Ending("LEASE_EXPIRED", _extended),
    "hard maximum": Ending("MAX_DURATION", _hard_maximum, {"reservation_hours": 2}),
    "idle": Ending("IDLE", _idle, {"reservation_hours": 1, "idle_threshold_minutes": 1}),
}


def _play(ending: Ending, kill: Kill) -> bool:
    """One session from its creation to its last bill. Whether the plane was killed before that."""

    async def scenario(stage: SessionStage) -> bool:
        id = await stage.rented(**ending.asked)
        due_s = await ending.comes(stage, id, kill)
        row = await stage.settled(id)
        assert row.state is State.TERMINATED
        assert row.stop_reason == ending.reason
        assert due_s <= stage.since_creation_s(id, row.end_at) <= due_s + ENDING_S
        assert stage.destroys == [200], "it is asked for once"
        await stage.check_bills(id)
        return stage.died

    return SessionStage().play(scenario)


_PLAIN = [pytest.param(name, marks=pytest.mark.slow) if name == "hard maximum" else name for name in ENDINGS]


@pytest.mark.parametrize("name", _PLAIN)
def test_a_session_ends_once_and_costs_what_it_ran(name: str) -> None:
    _play(ENDINGS[name], None)


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_in_the_middle_of_an_end_changes_nothing(name: str, step: int) -> None:
    """Later and later, until it comes after the end."""
    kills = itertools.count(0, step)
    survived = next(kill for kill in kills if not _play(ENDINGS[name], kill))
    assert survived >= 8, "hardly anything was interrupted"
