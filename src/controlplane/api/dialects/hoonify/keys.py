"""gpuplane.dialects.hoonify.v1.Keys, and how the vendor's keys look (its page on authentication)."""

from __future__ import annotations

from typing import Any

from gpuplane.dialects.hoonify.v1 import keys_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.dialects.hoonify.scopes import INFERENCE, SCOPES, word_of
from controlplane.api.dialects.hoonify.translate import DIALECT, IDEMPOTENCY
from controlplane.api.dialects.shared import request_key, rfc3339
from controlplane.api.interceptors.auth import bearer
from controlplane.api.plane import Plane
from controlplane.domain.account import ApiKey
from controlplane.domain.errors import invalid, not_found
from controlplane.domain.key_format import KeyFormat
from controlplane.usecases import keys
from controlplane.usecases.idempotency import FirstAnswers

_ALL = tuple(ours for all_ours in SCOPES.values() for ours in all_ours)
_TEST = "hoon_sk_test_"

KEY_FORMATS = (
    KeyFormat("hoon_sk_live_", dialect=DIALECT, scopes=_ALL, default_scopes=INFERENCE),
    # A sandbox key must not make itself a live one.
    KeyFormat(
        _TEST,
        dialect=DIALECT,
        scopes=tuple(scope for scope in _ALL if scope not in SCOPES["admin:write"]),
        default_scopes=INFERENCE,
    ),
    # For browsers: "cannot create instances".
    KeyFormat("hoon_pk_live_", dialect=DIALECT, scopes=INFERENCE, default_scopes=INFERENCE),
)

DEFAULT_OVERLAP_S, MAX_OVERLAP_S = 86_400, 7 * 86_400


def is_test_key(call: Call) -> bool:
    """Whether the caller plays in the sandbox: pretended hardware, free of charge."""
    return bearer(call.metadata).startswith(_TEST)


class Keys:
    """Replaces and ends keys."""

    service = "gpuplane.dialects.hoonify.v1.Keys"

    def __init__(self, plane: Plane, answers: FirstAnswers) -> None:
        self._core = plane.core
        self._authenticator = plane.authenticator
        self._answers = answers

    async def rotate_key(self, request: pb.RotateKeyRequest, call: Call) -> bytes:
        overlap_s = request.overlap_seconds if request.HasField("overlap_seconds") else DEFAULT_OVERLAP_S
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise invalid("overlap_seconds", f"must be from 0 to {MAX_OVERLAP_S}", overlap_s)
        key = request_key(request, call, IDEMPOTENCY)

        async def make() -> bytes:
            format = _format(await self._own(call, request.key_id))
            new, old, secret = await keys.rotate_api_key(
                self._core, call.principal, request.key_id, format, overlap_s, key, self._authenticator
            )
            shown: Any = _shown(new)
            shown.key = secret
            shown.previous.id = old.id
            shown.previous.expires_at = _time(old.expires_at or 0)
            body: bytes = shown.SerializeToString()
            return body

        return await self._answers.once(call.principal, key, make)

    async def revoke_key(self, request: pb.RevokeKeyRequest, call: Call) -> pb.Key:
        await self._own(call, request.key_id)
        return _shown(await keys.revoke_api_key(self._core, call.principal, request.key_id, self._authenticator))

    async def _own(self, call: Call, id: str) -> ApiKey:
        """A key of this dialect: those of others do not exist here."""
        found = await keys.api_key_of(self._core, call.principal, id)
        if found.dialect != DIALECT:
            raise not_found("API key", id)
        return found


def _format(key: ApiKey) -> KeyFormat:
    return next(form for form in KEY_FORMATS if key.prefix.startswith(form.prefix))


def _shown(key: ApiKey) -> pb.Key:
    return pb.Key(
        id=key.id,
        object="api_key",
        name=key.name,
        prefix=key.prefix,
        scopes=[word_of(scope) for scope in key.scopes],
        created_at=_time(key.created_at),
        expires_at=None if key.expires_at is None else _time(key.expires_at),
        revoked_at=None if key.revoked_at is None else _time(key.revoked_at),
    )


def _time(at: int) -> str:
    return rfc3339(at - at % 1_000_000)
