"""What dialects share: idempotency headers, times as text."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message

from controlplane.api.call import Call
from controlplane.usecases.idempotency import RequestIdRule, RequestKey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def request_key(request: Message, call: Call, rule: RequestIdRule) -> RequestKey:
    """The request id in the header that `rule.field` names, with a fingerprint of the whole request."""
    method = call.method.label  # the dialect with it: its ids are not those of another API
    id = str(call.metadata.get(rule.field.lower(), ""))
    if not id:
        return RequestKey(method, rule=rule)
    body = request.SerializeToString(deterministic=True)  # maps have no order of their own
    return RequestKey(method, id, hashlib.sha256(body).hexdigest(), rule)


def rfc3339(micros: int) -> str:
    """A time of microseconds since the epoch as `2026-01-02T03:04:05Z`, with six decimals unless they are zero."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
