"""Keys between the domain and the canonical API."""

from __future__ import annotations

from gpuplane.v1 import key_pb2 as pb

from controlplane.domain.account import ApiKey, SshKey
from controlplane.wire.common import timestamp


def ssh_key_message(row: SshKey) -> pb.SshKey:
    """The canonical message of a row."""
    return pb.SshKey(
        id=row.id,
        name=row.name,
        public_key=row.public_key,
        fingerprint=row.fingerprint,
        create_time=timestamp(row.created_at),
    )


def api_key_message(row: ApiKey) -> pb.ApiKey:
    """The canonical message of a row, without the secret."""
    message = pb.ApiKey(
        id=row.id,
        account_id=row.account_id,
        name=row.name,
        prefix=row.prefix,
        scopes=row.scopes,
        create_time=timestamp(row.created_at),
        dialect=row.dialect,
    )
    if row.expires_at is not None:
        message.expire_time.CopyFrom(timestamp(row.expires_at))
    if row.revoked_at is not None:
        message.revoke_time.CopyFrom(timestamp(row.revoked_at))
    return message
