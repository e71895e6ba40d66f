"""Work items: what the reconcilers claim. One row per instance that is not settled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from controlplane.domain.records import replace


class LeaseLost(Exception):
    """Another worker has taken over; whatever this one found out is dropped."""


class Leased:
    """When something must be looked at next, and who is looking now.

    `fence` grows with every claim, so that (id, fence) names one tenure for ever. `failures` counts looks in a row
    that failed, for back-off.
    """

    __slots__ = ()
    due_at: int
    holder: str
    fence: int
    lease_until: int
    failures: int

    def claimed(self, holder: str, now: int, lease: int) -> Self:
        """Held by `holder` for `lease` microseconds."""
        return replace(self, holder=holder, fence=self.fence + 1, lease_until=now + lease, due_at=now + lease)

    def held_by(self, holder: str, fence: int) -> bool:
        """Whether that tenure still holds."""
        return self.holder == holder and self.fence == fence

    def renewed(self, now: int, lease: int) -> Self:
        """Held for longer; a poke that came in meanwhile (an earlier due_at) is kept."""
        due = self.due_at if self.due_at < self.lease_until else now + lease
        return replace(self, lease_until=now + lease, due_at=due)

    def released(self, due_at: int, *, failed: bool = False) -> Self:
        """Free again, due at the given time, or earlier if it was poked while held."""
        poked = self.due_at < self.lease_until
        return replace(
            self,
            holder="",
            lease_until=0,
            due_at=min(self.due_at, due_at) if poked else due_at,
            failures=self.failures + 1 if failed else 0,
        )

    def poked(self, now: int) -> Self:
        """Due now, also if it is held at the moment."""
        return replace(self, due_at=min(self.due_at, now))


@dataclass(frozen=True)  # without slots, for the sake of domain.records.replace
class WorkItem(Leased):
    """The hold on one instance."""

    id: str  # the instance's id
    due_at: int
    provider: str = ""  # whose concurrency limit a claim counts against
    host_id: str = ""  # local machines: the only host that may judge them
    holder: str = ""
    fence: int = 0
    lease_until: int = 0
    failures: int = 0
