"""Provider credentials between the domain and the canonical API."""

from __future__ import annotations

from gpuplane.v1 import provider_credential_pb2 as pb

from controlplane.domain.credential import ProviderCredential
from controlplane.wire.common import timestamp


def credential_message(row: ProviderCredential) -> pb.ProviderCredential:
    """The canonical message of a row, without the secret."""
    message = pb.ProviderCredential(
        id=row.id,
        provider=row.provider,
        name=row.name,
        fingerprint=row.fingerprint,
        create_time=timestamp(row.created_at),
        secret_held=bool(row.sealed),
    )
    if row.revoked_at is not None:
        message.revoke_time.CopyFrom(timestamp(row.revoked_at))
    return message
