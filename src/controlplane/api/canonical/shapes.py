"""What the canonical servicers share: request keys, and pages joined from stored bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message

from controlplane.api.call import Call
from controlplane.api.plane import DEFAULT_CURRENCY, Plane, currency_of, own
from controlplane.domain.errors import not_found
from controlplane.usecases.idempotency import RequestKey
from controlplane.wire.event import nesting

__all__ = ["DEFAULT_CURRENCY", "Plane", "currency_of", "found", "joined", "own", "request_key"]


def request_key(request: Any, call: Call) -> RequestKey:
    """The request id of a mutating call, with a fingerprint of everything else in the request."""
    id: str = request.request_id
    method = call.method.handler
    if not id:
        return RequestKey(method)
    rest = type(request)()
    rest.CopyFrom(request)
    rest.ClearField("request_id")
    body = rest.SerializeToString(deterministic=True)  # maps have no order of their own
    return RequestKey(method, id, hashlib.sha256(body).hexdigest())


def joined(field_number: int, bodies: Iterable[bytes], rest: Message) -> bytes:
    """A page: stored messages in a repeated field, and the other fields from `rest`."""
    parts: list[bytes] = []
    for body in bodies:
        parts += (nesting(field_number, len(body)), body)
    parts.append(rest.SerializeToString())
    return b"".join(parts)


def found(body: bytes | None, resource: str, id: str) -> bytes:
    """The bytes, or NotFound."""
    if body is None:
        raise not_found(resource, id)
    return body
