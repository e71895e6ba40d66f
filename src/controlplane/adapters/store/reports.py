"""Sums over a ledger. The SQL stores sum per hour in the database; this folds hours into the bucket asked for."""

from __future__ import annotations

from collections.abc import Iterable
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


def fold(rows: Iterable[tuple[int, str, str, int, int, int]], bucket: str) -> list[UsageRow]:
    """Sum (at, group, instance id, machine us, gpu us, nano) into buckets, oldest first."""
    sums: dict[tuple[int, str], list[int]] = {}
    members: dict[tuple[int, str], set[str]] = {}
    for at, group, instance_id, machine_us, gpu_us, nano in rows:
        key = (bucket_start(bucket, at), group)
        total = sums.setdefault(key, [0, 0, 0])
        total[0] += machine_us
        total[1] += gpu_us
        total[2] += nano
        members.setdefault(key, set()).add(instance_id)
    return [
        UsageRow(key[0], key[1], sums[key][0], sums[key][1], sums[key][2], len(members[key])) for key in sorted(sums)
    ]


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
                e.end_at - e.start_at,
                (e.end_at - e.start_at) * max(1, e.gpu_count),
                e.amount_nano,
            )
            for e in chosen
        ),
        query.bucket,
    )
