"""Hoonify's compute API (seed 002): its page is the law, docs/dialects/hoonify.md what it leaves open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from controlplane.api.dialects.hoonify.errors import LOCAL_REPLIES, render_error
from controlplane.api.dialects.hoonify.instances import Instances
from controlplane.api.dialects.hoonify.keys import KEY_FORMATS, Keys
from controlplane.api.dialects.hoonify.translate import DIALECT, STATES
from controlplane.api.dialects.hoonify.webhooks import WEBHOOKS
from controlplane.api.plane import Plane
from controlplane.dialect import Claim, Dialect
from controlplane.domain.ratelimit import RateState
from controlplane.usecases.idempotency import FirstAnswers

_SCOPES = {
    Instances.service: {
        "CreateInstance": "instances:write",
        "ListInstances": "instances:read",
        "GetInstance": "instances:read",
        "TerminateInstance": "instances:write",
        "ExtendInstance": "instances:write",
    },
    Keys.service: {"RotateKey": "keys:write", "RevokeKey": "keys:write"},
}

TOKENS_PER_REQUEST = 500
"""In every tier of the vendor's page on rate limits: 300 requests go with 150,000 tokens a minute."""


def rate_headers(state: RateState) -> Sequence[tuple[str, str]]:
    """What a key may do in a minute. Compute uses up no tokens."""
    limit = round(state.rate * 60)
    tokens = str(limit * TOKENS_PER_REQUEST)
    return (
        ("x-ratelimit-limit-requests", str(limit)),
        ("x-ratelimit-remaining-requests", str(min(limit, state.remaining))),
        ("x-ratelimit-reset-requests", str(math.ceil(state.reset_s))),
        ("x-ratelimit-limit-tokens", tokens),
        ("x-ratelimit-remaining-tokens", tokens),
        ("x-ratelimit-reset-tokens", "0"),
    )


def servicers(plane: Plane) -> Sequence[Any]:
    """One servicer per service."""
    answers = FirstAnswers(plane.core)
    return [Instances(plane, answers), Keys(plane, answers)]


HOONIFY = Dialect(
    name=DIALECT,
    services=tuple(_SCOPES),
    port_offset=4,
    claims=(
        Claim("/v1/", bearer="hoon_"),
        Claim("/v1/admin/"),
        Claim("/v1/instances/{id}/terminate"),
        Claim("/v1/instances/{id}/extend"),
    ),
    local_replies=LOCAL_REPLIES,
    hosts=("hoonify.*", "api.hoonify.dev"),
    render_error=render_error,
    servicers=servicers,
    scopes={f"/{service}/{method}": scope for service, methods in _SCOPES.items() for method, scope in methods.items()},
    states=STATES,
    key_formats=KEY_FORMATS,
    rate_headers=rate_headers,
    webhooks=WEBHOOKS,
    cors_request_headers=("x-hoonify-pool", "x-hoonify-pool-fallback", "x-hoonify-idempotency-key"),
    cors_response_headers=tuple(name for name, _ in rate_headers(RateState(1, 1, 0))),
)
