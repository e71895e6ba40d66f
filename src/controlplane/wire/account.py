"""Account between the domain and the canonical API."""

from __future__ import annotations

from gpuplane.v1 import account_service_pb2 as pb

from controlplane.domain.account import Account
from controlplane.wire.common import timestamp


def account_message(row: Account) -> pb.Account:
    """The canonical message of a row."""
    message = pb.Account(
        id=row.id,
        name=row.name,
        currency=row.currency,
        max_instances=row.max_instances,
        create_time=timestamp(row.created_at),
    )
    if row.closed_at is not None:
        message.close_time.CopyFrom(timestamp(row.closed_at))
    return message
