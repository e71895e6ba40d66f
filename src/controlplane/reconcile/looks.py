"""When a machine that runs, or is stopped for a while, must be looked at next."""

from __future__ import annotations

import math
from collections.abc import Callable

from controlplane.domain.billing import SECOND
from controlplane.domain.instance import Instance
from controlplane.domain.state import State
from controlplane.usecases.core import Policy


def next_look(policy: Policy, pause_s: float) -> Callable[[Instance, int], float]:
    """Seconds to the next look, told from the row as it was committed and the time of the commit: the poll, the
    metering or the lease, whichever comes first; at once when there is more to do than to look.

    Polls fall on multiples of the pause, so that many machines share one claim and one commit.
    """

    def seconds(row: Instance, now_us: int) -> float:
        if row.state not in (State.RUNNING, State.STOPPED) or row.ending:
            return 0.0
        now = now_us / SECOND
        moments = [math.floor(now / pause_s + 1) * pause_s]
        if row.kept is None:  # a disk that is kept outlives its lease
            moments += [at / SECOND for at in (row.expire_at, row.hard_expire_at) if at is not None]
        if row.idle_timeout_s and row.idle_since is not None:
            moments.append(row.idle_since / SECOND + row.idle_timeout_s)
        charged = row.charged_until if row.charged_until is not None else row.run_at
        if charged is not None:
            moments.append(charged / SECOND + policy.meter_interval_s)
        return max(0.05, min(moments) - now)

    return seconds
