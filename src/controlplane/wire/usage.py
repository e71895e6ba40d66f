"""Usage and ledger between the domain and the canonical API."""

from __future__ import annotations

from gpuplane.v1 import usage_service_pb2 as pb

from controlplane.domain.ledger import LedgerEntry
from controlplane.wire.common import money, timestamp


def ledger_message(row: LedgerEntry) -> pb.LedgerEntry:
    """The canonical message of one charge."""
    return pb.LedgerEntry(
        id=row.id,
        instance_id=row.instance_id,
        start_time=timestamp(row.start_at),
        end_time=timestamp(row.end_at),
        amount=money(row.amount_nano, row.currency),
        description=row.description,
    )
