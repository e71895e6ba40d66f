"""What the canonical servicers share."""

from __future__ import annotations

import hashlib
from typing import Any

from controlplane.api.call import Call
from controlplane.api.pages import joined
from controlplane.api.plane import DEFAULT_CURRENCY, Plane, currency_of, own
from controlplane.domain.errors import not_found
from controlplane.usecases.idempotency import RequestKey

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


def found(body: bytes | None, resource: str, id: str) -> bytes:
    """The bytes, or NotFound."""
    if body is None:
        raise not_found(resource, id)
    return body
