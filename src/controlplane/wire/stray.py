"""Strays between the domain and the canonical API."""

from __future__ import annotations

from gpuplane.v1 import stray_pb2 as pb

from controlplane.domain.errors import invalid
from controlplane.domain.stray import CURRENCY, StrayKind, StrayMachine, StrayWish
from controlplane.wire.common import money, number, timestamp

_KINDS = {kind: number(pb.StrayKind, "STRAY_KIND", kind) for kind in StrayKind}
_KINDS_BACK = {value: kind for kind, value in _KINDS.items()}
_WISHES = {wish: number(pb.StrayWish, "STRAY_WISH", wish or "UNSPECIFIED") for wish in StrayWish}


def stray_kind_of(value: int, field: str) -> StrayKind | None:
    """The kind of an enum number; None for unspecified."""
    if value and value not in _KINDS_BACK:
        raise invalid(field, "must be STRAY_KIND_ORPHAN, STRAY_KIND_FOREIGN or unspecified", value)
    return _KINDS_BACK.get(value)


def stray_message(row: StrayMachine) -> pb.Stray:
    """The canonical message of a row."""
    message = pb.Stray(
        id=row.id,
        provider=row.provider,
        credential_id=row.credential_id,
        machine_id=row.machine_id,
        label=row.label,
        kind=_KINDS[row.kind],
        provider_status=row.status,
        first_seen_time=timestamp(row.first_seen_at),
        last_seen_time=timestamp(row.last_seen_at),
        wish=_WISHES[row.wish],
        account_id=row.account_id,
        error=row.error,
        instance_id=row.instance_id,
    )
    if row.price_nano_per_hour:
        message.price_per_hour.CopyFrom(money(row.price_nano_per_hour, CURRENCY))
    return message
