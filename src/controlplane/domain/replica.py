"""Server processes of a deployment, as they know of each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplicaRecord:
    """One server process that is, or was lately, alive. `id` names one life of it."""

    id: str
    host_id: str
    seen_at: int
