"""What must hold once a campaign has come to rest, in virtual time and in real processes alike. Each check returns the
sentences of what is broken; what marketplaces know comes from their own ledgers and journals."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from controlplane.adapters.store.memory import MemoryDisk
from controlplane.domain.ids import parse_label
from controlplane.domain.instance import Instance
from controlplane.domain.ledger import LedgerEntry, LedgerKind
from controlplane.domain.operation import Operation
from tests.faults.markets import label_of
from tests.simulation.invariants import events_tell_all, no_lost_operation, outcomes_agree

PLANTED = 900
"""Attempt numbers from here on are of machines that the campaign itself left at a marketplace."""

STRANGER = "gp-other-"
"""How labels of another deployment begin; the campaign leaves one at each marketplace."""

NANO_ROUNDING = 10


@dataclass(frozen=True)
class Billed:
    """One machine of ours by its marketplace's ledger. Times are epoch seconds."""

    provider: str
    id: str
    instance_id: str
    attempt: int
    created_at: float
    ended_at: float | None
    billed_nano: int


@dataclass
class Evidence:
    """All that a campaign left behind."""

    disk: MemoryDisk
    accepted: list[str]
    deployment: str
    ledgers: Mapping[str, Mapping[str, Any]]  # by provider, as /_sim/ledger tells
    journals: Mapping[str, list[dict[str, Any]]]
    frozen: bool = False
    machines: list[Billed] = field(init=False)

    def __post_init__(self) -> None:
        self.machines = [
            Billed(
                name, machine["id"], parsed[1], parsed[2], machine["created_at"], machine["ended_at"],
                machine["billed_nano"],
            )
            for name, ledger in self.ledgers.items()
            for machine in ledger["machines"]
            if (parsed := parse_label(machine["label"])) and parsed[0] == self.deployment
        ]  # fmt: skip


def nothing_lost(seen: Evidence) -> Iterable[str]:
    """Every operation that a caller was given has ended, and events, rows and operations agree."""
    for check in (no_lost_operation, events_tell_all, outcomes_agree):
        yield from check(seen.disk, [], seen.accepted)


def all_settled(seen: Evidence) -> Iterable[str]:
    """Nothing is left to do: every instance has ended, its machine is gone and its bill is known."""
    for row in seen.disk.table(Instance).values():
        if not row.settled:
            yield f"{row.id} is not settled: {row.state}, attempt {row.attempt} at {row.provider or 'no provider'}"


def asked_once(seen: Evidence) -> Iterable[str]:
    """At most one create request for any label."""
    for name, calls in seen.journals.items():
        asked = Counter(
            label
            for call in calls
            if call["method"] in ("POST", "PUT") and (label := label_of(call)) and "create" in call["endpoint"]
        )
        yield from (f"{name} was asked {count} times for {label}" for label, count in asked.items() if count > 1)


def never_two(seen: Evidence) -> Iterable[str]:
    """No instance had two machines that were paid for at the same time."""
    lives: dict[str, list[Billed]] = defaultdict(list)
    for machine in seen.machines:
        if machine.attempt < PLANTED:
            lives[machine.instance_id].append(machine)
    for id, machines in lives.items():
        ordered = sorted(machines, key=lambda machine: machine.created_at)
        for one, other in pairwise(ordered):
            if one.ended_at is None or other.created_at < one.ended_at:
                yield f"{id} had {one.provider}/{one.id} and {other.provider}/{other.id} at once"


def nothing_left(seen: Evidence) -> Iterable[str]:
    """No machine of ours is alive at a marketplace without a live row; planted orphans are gone too."""
    kept = {(row.provider, row.machine_id) for row in seen.disk.table(Instance).values() if not row.settled}
    for machine in seen.machines:
        if machine.ended_at is None and (machine.provider, machine.id) not in kept:
            yield f"{machine.provider} still bills {machine.id}, attempt {machine.attempt} of {machine.instance_id}"


def strangers_spared(seen: Evidence) -> Iterable[str]:
    """Nobody asked for the end of a machine of another deployment."""
    for name, ledger in seen.ledgers.items():
        strangers = {machine["id"] for machine in ledger["machines"] if machine["label"].startswith(STRANGER)}
        for call in seen.journals[name]:
            if call["method"] == "DELETE" and strangers & set(call["path"].split("/")):
                yield f"{name} was asked for {call['path']}, which is not ours"


def costs_agree(seen: Evidence) -> Iterable[str]:
    """What we say a machine cost is what its marketplace billed, to one second of its full price.

    Where a destroy had to be sent again, since its answer was lost, unreadable or died with the plane, nobody can know
    which of them ended the machine: there the second is beyond the span between the first and the last of them.
    """
    spans = _spans(seen.journals)
    posted: dict[tuple[str, int], int] = defaultdict(int)
    for entry in seen.disk.table(LedgerEntry).values():
        if entry.kind is LedgerKind.PROVIDER_COST:
            posted[entry.instance_id, entry.attempt] += entry.amount_nano
    prices = _prices(seen.disk)
    for machine in seen.machines:
        if machine.attempt >= PLANTED:
            continue
        key = (machine.instance_id, machine.attempt)
        off = posted.pop(key, 0) - machine.billed_nano
        second = prices.get(key, 0) / 3600
        if abs(off) > second * (1 + spans.get((machine.provider, machine.id), 0.0)) + NANO_ROUNDING:
            yield (
                f"{machine.provider}/{machine.id} (attempt {key[1]} of {key[0]}) cost {machine.billed_nano} nano-"
                f"dollars there, {off:+d} in our ledger: {off / second if second else float('inf'):+.1f} s"
            )
    yield from (
        f"attempt {number} of {id} cost {nano}, and no marketplace made it"
        for (id, number), nano in posted.items()
        if nano
    )


def _spans(journals: Mapping[str, list[dict[str, Any]]]) -> dict[tuple[str, str], float]:
    """Seconds between the first and the last destroy of a machine, for those that got more than one."""
    sent: dict[tuple[str, str], list[float]] = defaultdict(list)
    for provider, calls in journals.items():
        for call in calls:
            if call["endpoint"] == "destroy":
                sent[provider, call["path"].rstrip("/").rsplit("/", 1)[-1]].append(call["at"])
    return {key: max(times) - min(times) for key, times in sent.items() if len(times) > 1}


def repeated_destroys(seen: Evidence) -> int:
    """Of how many of our machines the end is known to a span only."""
    spans = _spans(seen.journals)
    return sum((machine.provider, machine.id) in spans for machine in seen.machines)


def _prices(disk: MemoryDisk) -> dict[tuple[str, int], int]:
    """The full price of every attempt's machine."""
    return {
        (operation.instance_id, attempt.number): attempt.price_nano_per_hour
        for operation in disk.table(Operation).values()
        for attempt in operation.attempts
    }


CHECKS: tuple[Callable[[Evidence], Iterable[str]], ...] = (
    nothing_lost, all_settled, asked_once, never_two, nothing_left, strangers_spared, costs_agree,
)  # fmt: skip


def broken(seen: Evidence) -> list[str]:
    """All that does not hold."""
    return [f"{check.__name__}: {sentence}" for check in CHECKS for sentence in check(seen)]
