"""What dialects share: idempotency headers, times as text, messages as JSON."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from controlplane.api.call import Call
from controlplane.domain.errors import invalid
from controlplane.usecases.idempotency import RequestIdRule, RequestKey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def request_key(request: Message, call: Call, rule: RequestIdRule) -> RequestKey:
    """The request id in the header that `rule.field` names, with a fingerprint of the whole request.

    Raises InvalidArgument for a header that is there and names nothing, or two things: its sender relies on it.
    """
    method = call.method.label  # the dialect with it: its ids are not those of another API
    name = rule.field.lower()
    if name not in call.metadata:
        return RequestKey(method, rule=rule)
    id, *others = call.values(name)
    if others:
        raise invalid(rule.field, "must be sent once", ", ".join((id, *others)))
    if not id:
        raise invalid(rule.field, f"must be 1 to {rule.longest} {rule.form_said}", id)
    body = request.SerializeToString(deterministic=True)  # maps have no order of their own
    return RequestKey(method, id, hashlib.sha256(body).hexdigest(), rule)


def rfc3339(micros: int) -> str:
    """A time of microseconds since the epoch as `2026-01-02T03:04:05Z`, with six decimals unless they are zero."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")


def json_object(message: Message) -> dict[str, Any]:
    """A message as REST shows it: whole numbers have no decimals."""
    shown: dict[str, Any] = _whole(
        json_format.MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    )
    return shown


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_whole(member) for member in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
