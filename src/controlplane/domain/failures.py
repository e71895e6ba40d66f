"""The memory of failed purchases: it decays, it is shared by replicas, and it spares the next caller the same failure.

A failure is remembered of the offer, of the host behind it, and of the GPU type at that provider, each with a weight of
its own: a dead offer says all about itself, much about its host and little about its kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from controlplane.domain.billing import SECOND
from controlplane.domain.offer import Offer
from controlplane.domain.operation import Outcome

HALF_LIFE_S = 600.0
"""After this long a failure counts half."""

_WEIGHTS = {"offer": 1.0, "host": 0.5, "gpu": 0.1}
_TELLING = frozenset({Outcome.STOCKOUT, Outcome.REJECTED, Outcome.UNUSABLE, Outcome.NOT_READY, Outcome.TOO_DEAR})
_RESTING = frozenset({Outcome.STOCKOUT, Outcome.UNUSABLE, Outcome.NOT_READY})


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """What is remembered of one subject. `score_milli` is the weight in thousandths as it was at `at`."""

    id: str  # offer/<offer id>, host/<provider>/<host> or gpu/<provider>/<type>
    provider: str
    score_milli: int
    at: int
    rest_until: int  # not asked for before then, unless it is named
    cause: str  # the last one

    def score(self, now: int) -> float:
        """The weight as of now."""
        half_lives = max(0, now - self.at) / (HALF_LIFE_S * SECOND)
        return self.score_milli / 1000 * math.pow(0.5, half_lives)


def subjects(offer: Offer) -> dict[str, float]:
    """Ids of what a failure of this offer is remembered of, with the weight that each gets."""
    ids = {
        "offer": f"offer/{offer.id}",
        "host": f"host/{offer.provider}/{offer.vendor_host}" if offer.vendor_host else "",
        "gpu": f"gpu/{offer.provider}/{offer.gpu_type}",
    }
    return {id: _WEIGHTS[kind] for kind, id in ids.items() if id}


def telling(outcome: Outcome) -> bool:
    """Whether an attempt's outcome says something about its offer."""
    return outcome in _TELLING


def remembered(
    old: FailureRecord | None, id: str, weight: float, offer: Offer, outcome: Outcome, now: int, rest_s: float
) -> FailureRecord:
    """The record of a subject with one more failure. An unusable machine rests its host too; a stock-out only the
    offer."""
    score = (old.score(now) if old is not None else 0.0) + weight
    rests = outcome in _RESTING and (
        id.startswith("offer/") or (id.startswith("host/") and outcome is not Outcome.STOCKOUT)
    )
    until = now + int(rest_s * SECOND) if rests else 0
    return FailureRecord(
        id,
        offer.provider,
        round(score * 1000),
        now,
        max(until, old.rest_until if old is not None else 0),
        outcome.value,
    )


def spared(score: float) -> float:
    """The factor of confidence, 0 to 1, that is left after failures of this weight."""
    return 1.0 / (1.0 + score)
