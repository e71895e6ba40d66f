"""Whether work is taken: from the first sweep of the providers on, until the server stops."""

from __future__ import annotations

from controlplane.api.vitals import Vitals
from controlplane.domain.errors import Unavailable

RETRY_S = 1.0


def takes_work(vitals: Vitals) -> bool:
    """Whether sessions can be created."""
    return vitals.ready and vitals.swept


def check_takes_work(vitals: Vitals) -> None:
    """Raise Unavailable otherwise."""
    if not takes_work(vitals):
        raise Unavailable(
            "the server is starting or stopping; try again", reason="SERVER_STOPPING", retry_after_s=RETRY_S
        )
