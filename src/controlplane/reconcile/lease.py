"""Leases: the reservation's end and the hard maximum, which end an instance in whatever state it is."""

from __future__ import annotations

from controlplane.domain.instance import Instance
from controlplane.reconcile.tenure import Rows


def over(row: Instance, now: int) -> bool:
    """Whether a lease ended and nobody asked for the end yet. A disk that is kept outlives it."""
    ends = [at for at in (row.expire_at, row.hard_expire_at) if at is not None]
    return bool(ends) and now >= min(ends) and not row.ending and row.kept is None


def end_if_over(rows: Rows) -> None:
    """Ask for the end of an instance whose lease is over."""
    row = rows.instance
    if not over(row, rows.now):
        return
    if row.hard_expire_at is not None and rows.now >= row.hard_expire_at:
        rows.instance = row.ask_to_end("MAX_DURATION", "the hard maximum of its life was reached", rows.now)
    else:
        rows.instance = row.ask_to_end("LEASE_EXPIRED", "its reservation ended", rows.now)
