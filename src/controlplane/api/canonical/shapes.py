"""What the canonical servicers share: their dependencies, request keys, and pages joined from stored bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from controlplane.api.call import Call
from controlplane.domain.errors import NotFound, not_found
from controlplane.domain.principal import Principal, Scope
from controlplane.usecases import accounts
from controlplane.usecases.core import Core
from controlplane.usecases.hub import EventHub
from controlplane.usecases.idempotency import RequestKey
from controlplane.usecases.keys import KeyAuthenticator
from controlplane.usecases.tokens import Tokens
from controlplane.wire.event import nesting

DEFAULT_CURRENCY = "USD"


@dataclass(frozen=True, slots=True)
class Plane:
    """What servicers act on."""

    core: Core
    tokens: Tokens
    hub: EventHub
    authenticator: KeyAuthenticator


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


def own(caller: Principal) -> Scope:
    """The caller's account alone, for an operator too: sums over accounts of several currencies mean nothing."""
    return Scope(caller.account_id)


async def currency_of(core: Core, caller: Principal) -> str:
    """The currency of the caller's account. An operator has no account: the default."""
    try:
        return (await accounts.account_of(core, caller.account_id)).currency
    except NotFound:
        return DEFAULT_CURRENCY
