"""What will befall a machine, drawn when it is made."""

from __future__ import annotations

from random import Random

from controlplane.simulators.faults import Faults
from controlplane.simulators.ledger import Span

STUCK_FORMS = ("null", "loading", "created")
LOST_FORMS = ("unknown", "offline")


def stuck_form(rng: Random, faults: Faults) -> str:
    """In which state a machine that never comes up stays."""
    return rng.choice(STUCK_FORMS) if faults.stuck_form == "any" else faults.stuck_form


def host_loss(at: float, rng: Random, faults: Faults) -> tuple[Span, str]:
    """When a machine's host does not answer, from `at` on, and in which form the marketplace says so."""
    form = rng.choice(LOST_FORMS) if faults.host_lost_form == "any" else faults.host_lost_form
    away_s = rng.uniform(*faults.host_lost_for_s)
    return (Span(at, at + away_s) if away_s else Span(at)), form
