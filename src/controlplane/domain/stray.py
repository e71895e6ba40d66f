"""Strays: machines at a provider that carry our label and that no live row claims."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from controlplane.domain import ids as id_forms

STRAY = "stray"  # prefix of the ids

CURRENCY = "USD"
"""In what marketplaces list the prices of machines."""


class StrayKind(StrEnum):
    """Why it is one."""

    ORPHAN = "ORPHAN"  # its instance has ended, or has another machine: it is destroyed by the next sweeps
    FOREIGN = "FOREIGN"  # this database never issued its label: only a person may decide


class StrayWish(StrEnum):
    """What a person decided."""

    NONE = ""
    ADOPT = "ADOPT"
    DESTROY = "DESTROY"


def stray_id(provider: str, credential_id: str, machine_id: str) -> str:
    """The same for the same machine at every sweep. Providers' machine ids may hold anything, and paths may not."""
    digest = hashlib.sha256(f"{provider}\0{credential_id}\0{machine_id}".encode()).digest()
    return id_forms.encode(STRAY, UUID(bytes=digest[:16]))


@dataclass(frozen=True, slots=True)
class StrayMachine:
    """One stray, as the last sweep saw it. Times are microseconds."""

    id: str  # see stray_id
    provider: str
    credential_id: str  # of an account; for a local machine the host it runs on; else empty: the deployment's
    machine_id: str
    label: str
    kind: StrayKind
    status: str
    price_nano_per_hour: int  # 0: the provider does not tell
    first_seen_at: int
    last_seen_at: int
    wish: StrayWish = StrayWish.NONE
    account_id: str = ""  # ADOPT: for whom
    error: str = ""  # why the wish could not be carried out yet, for operators

    @property
    def instance_id(self) -> str:
        """The instance that its label names."""
        parsed = id_forms.parse_label(self.label)
        return parsed[1] if parsed else ""

    def after(self, before: StrayMachine | None) -> StrayMachine:
        """This sighting, with what is known and was decided since the first one. A machine that has become a stray of
        another kind is a new one: nobody decided about that."""
        if before is None or before.kind is not self.kind:
            return self
        return replace(
            self, first_seen_at=before.first_seen_at, wish=before.wish, account_id=before.account_id,
            error=before.error,
        )  # fmt: skip
