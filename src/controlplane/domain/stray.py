"""Strays: machines at a provider that carry our label and that no live row claims."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class StrayKind(StrEnum):
    """Why it is one."""

    ORPHAN = "ORPHAN"  # its instance has ended, or has another machine: it is destroyed by the next sweeps
    FOREIGN = "FOREIGN"  # this database never issued its label: only a person may decide


class StrayWish(StrEnum):
    """What a person decided."""

    NONE = ""
    ADOPT = "ADOPT"
    DESTROY = "DESTROY"


@dataclass(frozen=True, slots=True)
class StrayMachine:
    """One stray, as the last sweep saw it. Times are microseconds."""

    id: str  # <provider>/<credential id or ->/<machine id>
    provider: str
    credential_id: str
    machine_id: str
    label: str
    kind: StrayKind
    status: str
    price_nano_per_hour: int
    first_seen_at: int
    last_seen_at: int
    wish: StrayWish = StrayWish.NONE
    account_id: str = ""  # ADOPT: for whom
    error: str = ""  # why the wish could not be carried out yet, for operators
