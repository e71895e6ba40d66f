"""The virtual form: histories by seed until enough was rented, and one line about all of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from os import cpu_count

from tests.faults.history import History, Story
from tests.faults.markets import expected

CALLERS = 120  # of one history


@dataclass
class Verdict:
    """What came of many histories."""

    histories: int = 0
    rentals: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    accepted: int = 0
    extended: int = 0
    virtual_s: float = 0.0
    seconds: float = 0.0
    broken: list[Story] = field(default_factory=list)

    def add(self, story: Story) -> None:
        """One more."""
        self.histories += 1
        self.rentals += story.rentals
        self.struck += story.struck
        self.outcomes += story.outcomes
        self.kills += story.kills
        self.accepted += story.accepted
        self.extended += story.extended
        self.virtual_s += story.virtual_s
        if story.broken:
            self.broken.append(story)

    @property
    def never_struck(self) -> set[str]:
        """Faults that the campaign did not meet, which it exists for."""
        return expected(self.struck)

    def __str__(self) -> str:
        rentals = ", ".join(f"{number} {name}" for name, number in sorted(self.rentals.items()))
        lines = [
            f"{self.histories} histories, {len(self.broken)} broken | {self.rentals.total()} machines rented "
            f"({rentals}), {self.accepted} operations | {self.kills} kills | {self.extended} extensions | "
            f"{self.virtual_s / 3600:.0f} h of virtual time in {self.seconds:.0f} s",
            "attempts: " + ", ".join(f"{name} {number}" for name, number in self.outcomes.most_common()),
            "faults that struck: " + ", ".join(f"{name} {number}" for name, number in sorted(self.struck.items())),
        ]
        if self.never_struck:
            lines.append(f"BROKEN: never struck: {', '.join(sorted(self.never_struck))}")
        return "\n".join(lines)


def play(seed: int) -> Story:
    """One history; only a broken one keeps its lines."""
    story = History(seed, CALLERS).run()
    if not story.broken:
        story.lines = []
    return story


def run(rentals: int, first_seed: int) -> Verdict:
    """Histories from that seed on until so many machines were rented."""
    began, verdict = time.monotonic(), Verdict()
    for story in _stories(first_seed):
        verdict.add(story)
        if verdict.rentals.total() >= rentals:
            break
    verdict.seconds = time.monotonic() - began
    return verdict


def _stories(first_seed: int) -> Iterator[Story]:
    """Endlessly, a few at a time."""
    workers = cpu_count() or 1
    with ProcessPoolExecutor(workers) as pool:
        for batch in count():
            start = first_seed + batch * workers
            yield from pool.map(play, range(start, start + workers))
