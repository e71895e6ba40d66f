"""The life of an instance: its states, the one transition table, and what each state means for bills and reads."""

from __future__ import annotations

from enum import StrEnum

from controlplane.domain.errors import FailedPrecondition


class State(StrEnum):
    """Where an instance is in its life (DESIGN section 4)."""

    ACCEPTED = "ACCEPTED"
    ALLOCATING = "ALLOCATING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    TERMINATED = "TERMINATED"
    FAILED = "FAILED"


TRANSITIONS: dict[State, frozenset[State]] = {
    # An early cancel ends before anything was bought.
    State.ACCEPTED: frozenset({State.ALLOCATING, State.TERMINATED, State.FAILED}),
    State.ALLOCATING: frozenset({State.STARTING, State.STOPPING, State.TERMINATED, State.FAILED}),
    # A machine that does not become usable is returned, and another offer tried.
    State.STARTING: frozenset({State.RUNNING, State.ALLOCATING, State.STOPPING, State.FAILED}),
    # What ends may be wished to keep its disk: STOPPING leads to STOPPED then, and from there to the end.
    State.RUNNING: frozenset({State.STOPPING, State.STOPPED, State.FAILED}),
    State.STOPPED: frozenset({State.RUNNING, State.STOPPING, State.FAILED}),
    State.STOPPING: frozenset({State.TERMINATED, State.STOPPED}),
    State.TERMINATED: frozenset(),
    State.FAILED: frozenset(),
}

TERMINAL = frozenset({State.TERMINATED, State.FAILED})
LIVE = frozenset(State) - TERMINAL
"""States that count against quotas and that a listing of active instances shows."""

BILLABLE = frozenset({State.RUNNING, State.STOPPING, State.STOPPED})
"""States in which an instance that has run is charged."""


def check_transition(old: State, new: State) -> None:
    """Raise FailedPrecondition unless the table allows the move."""
    if new not in TRANSITIONS[old]:
        raise FailedPrecondition(f"an instance cannot go from {old} to {new}", state=old)
