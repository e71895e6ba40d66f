"""Sums over a ledger. The SQL stores sum per hour in the database; this folds hours into the bucket asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from controlplane.domain.billing import HOUR, SECOND
from controlplane.domain.ledger import LedgerEntry
from controlplane.ports.store import UsageQuery, UsageRow


def bucket_start(bucket: str, at: int) -> int:
    """The first instant of the UTC bucket that holds `at`; 0 for the empty bucket (one sum over all)."""
    if not bucket:
        return 0
    if bucket == "hour":
        return at - at % HOUR
    day = datetime.fromtimestamp(at / SECOND, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if bucket == "week":
        day -= timedelta(days=day.weekday())
    elif bucket == "month":
        day = day.replace(day=1)
    return int(day.timestamp()) * SECOND


class _Bucket:
    """Sums by group. Dictionaries of plain values, because the garbage collector, in whose time no thread goes on, need
    not look into them: a year by week and instance has a hundred thousand groups, each of a single instance."""

    __slots__ = ("gpu_us", "instances", "machine_us", "nano")

    def __init__(self) -> None:
        self.machine_us: dict[str, int] = {}
        self.gpu_us: dict[str, int] = {}
        self.nano: dict[str, int] = {}
        self.instances: dict[str, str | set[str]] = {}  # the only one, or all

    def add(self, group: str, instance_id: str, machine_us: int, gpu_us: int, nano: int) -> None:
        """Count one row in."""
        self.machine_us[group] = self.machine_us.get(group, 0) + machine_us
        self.gpu_us[group] = self.gpu_us.get(group, 0) + gpu_us
        self.nano[group] = self.nano.get(group, 0) + nano
        known = self.instances.setdefault(group, instance_id)
        if isinstance(known, set):
            known.add(instance_id)
        elif known != instance_id:
            self.instances[group] = {known, instance_id}

    def rows(self, start: int) -> Iterator[UsageRow]:
        """The rows, by group."""
        for group in sorted(self.nano):
            known = self.instances[group]
            count = len(known) if isinstance(known, set) else 1
            yield UsageRow(start, group, self.machine_us[group], self.gpu_us[group], self.nano[group], count)


def fold(rows: Iterable[tuple[int, str, str, int, int, int]], bucket: str) -> list[UsageRow]:
    """Sum (at, group, instance id, machine us, gpu us, nano) into buckets, oldest first.

    It runs on a thread beside the event loop. Each bucket is sorted by itself: one sort of everything would be one step
    of the interpreter, in which no other thread goes on.
    """
    buckets: dict[int, _Bucket] = {}
    for at, group, instance_id, machine_us, gpu_us, nano in rows:
        start = bucket_start(bucket, at)
        sums = buckets.get(start)
        if sums is None:
            sums = buckets[start] = _Bucket()
        sums.add(group, instance_id, machine_us, gpu_us, nano)
    return [row for start in sorted(buckets) for row in buckets[start].rows(start)]


def sum_usage(entries: Iterable[LedgerEntry], query: UsageQuery) -> list[UsageRow]:
    """The same over entries in memory."""
    chosen = (
        e
        for e in entries
        if e.kind is query.kind
        and query.start_at <= e.start_at < query.end_at
        and (not query.instance_id or e.instance_id == query.instance_id)
    )
    return fold(
        (
            (
                e.start_at,
                str(getattr(e, query.group)) if query.group else "",
                e.instance_id,
                e.machine_us,
                e.machine_us * max(1, e.gpu_count),
                e.amount_nano,
            )
            for e in chosen
        ),
        query.bucket,
    )
