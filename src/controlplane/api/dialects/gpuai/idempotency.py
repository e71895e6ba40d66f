"""The `Idempotency-Key` header (seed 003: at most 255 characters; the vendor's conventions: for 24 hours)."""

from __future__ import annotations

import re

from google.protobuf.message import Message

from controlplane.api.call import Call
from controlplane.api.dialects import shared
from controlplane.usecases.idempotency import RequestIdRule, RequestKey

RULE = RequestIdRule(
    field="Idempotency-Key",
    longest=255,
    form=re.compile(r"[\x20-\x7e]*"),
    form_said="printable ASCII characters",
    window_s=24 * 3600,
)


def request_key(request: Message, call: Call) -> RequestKey:
    """What the caller named its request."""
    return shared.request_key(request, call, RULE)
