"""500 histories, and the proof that the invariants bite: planted bugs of each kind are caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from controlplane.adapters.store import batch
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Outcome
from controlplane.domain.principal import ALL
from controlplane.domain.work import WorkItem
from controlplane.ports.provider import Destruction
from controlplane.ports.store import Transaction, UnitOfWork
from controlplane.reconcile import allocate, endings, loop, posting, sweep
from tests.simulation.run import Simulation


@pytest.mark.parametrize("first", range(0, 500, 25))
def test_histories(first: int) -> None:
    for seed in range(first, first + 25):
        history = Simulation(seed).run()
        assert not history.broken, "\n".join(
            [*history.lines, *history.broken, f"repeat: python -m tests.simulation --seeds 1 --from {seed}"]
        )
        assert history.operations


def test_histories_on_sqlite() -> None:
    for seed in range(1000, 1020):
        history = Simulation(seed, sqlite=True).run()
        assert not history.broken, "\n".join([*history.lines, *history.broken])
        assert history.operations


def test_a_seed_repeats_itself() -> None:
    for seed in (3, 11, 42):
        assert Simulation(seed).run().trace == Simulation(seed).run().trace


def found(seeds: int = 60) -> set[str]:
    """The invariants that break within some histories."""
    broken: set[str] = set()
    for seed in range(seeds):
        broken |= {text.split(":")[0] for text in Simulation(seed).run().broken}
    return broken


def _no_lookup(original: Any) -> Any:
    async def settle(tenure: Any, instance: Any, attempt: Any) -> Any:
        def forget(rows: Any) -> None:
            rows.instance = replace(rows.instance, label="")
            rows.create = rows.create.outcome(attempt.number, Outcome.NOT_CREATED, "", rows.now)

        return await tenure.apply(forget)

    return settle


def _lost_work(original: Any) -> Any:
    async def claim(self: Any) -> list[tuple[Any, Instance]]:
        claimed: list[tuple[Any, Instance]] = await original(self)
        lost = {tenure.id for tenure, _ in claimed if tenure.fence % 7 == 0}

        def drop(tx: Transaction) -> None:
            for id in lost:
                tx.delete(WorkItem, id)

        if lost:
            await self._core.store.run(UnitOfWork(ALL, [], drop))
        return [(tenure, instance) for tenure, instance in claimed if tenure.id not in lost]

    return claim


def _lying_destroy(original: Any) -> Any:
    async def stop(tenure: Any, instance: Any) -> None:
        await tenure.apply(lambda rows: endings.terminated(rows, tenure.core.policy), due_in_s=0)

    return stop


def _forgetful_meter(original: Any) -> Any:
    def post(rows: Any) -> None:
        before = rows.instance
        original(rows)
        if rows.instance.charged_nano > before.charged_nano and rows.now % 3 == 0:
            rows.instance = replace(rows.instance, charged_nano=before.charged_nano, charged_until=before.charged_until)

    return post


def _silent_change(original: Any) -> Any:
    def event(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.next_seq() % 5:
            original(self, *args, **kwargs)

    return event


@pytest.mark.parametrize(
    ("where", "name", "bug", "caught_by"),
    [
        (allocate, "_settle", _no_lookup, "no_double_machine"),
        (loop.InstanceLoop, "_claim", _lost_work, "no_lost_operation"),
        (loop, "stop", _lying_destroy, "no_untracked_machine"),
        (posting, "_post_charge", _forgetful_meter, "ledgers_equal_events"),
        (batch._Batch, "_event", _silent_change, "events_tell_all"),
    ],
)
def test_a_planted_bug_is_caught(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, bug: Callable[[Any], Any], caught_by: str
) -> None:
    changed = bug(getattr(where, name))
    monkeypatch.setattr(where, name, changed)
    if name == "stop":
        steps = {
            state: changed if step is loop.STEPS[endings.State.STOPPING] else step for state, step in loop.STEPS.items()
        }
        monkeypatch.setattr(loop, "STEPS", steps)
        monkeypatch.setattr(sweep.Sweeper, "_destroy_orphan", _ignore)
    assert caught_by in found()


async def _ignore(self: Any, machine: Any) -> Destruction:
    return Destruction.PENDING
