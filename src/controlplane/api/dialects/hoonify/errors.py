"""Errors in the OpenAI shape, `{"error": {"type", "code", "message"}}`.

The vendor names four codes (`unauthorized`, `forbidden_scope`, `no_capacity`, `rate_limited`) and claims compatibility
with OpenAI's API, but shows no error body; the other codes and the types are ours.
"""

from __future__ import annotations

from controlplane.api.dialects.hoonify.scopes import word_of
from controlplane.api.dialects.hoonify.translate import DRAINING, STATES, TERMINATED
from controlplane.dialect import ENVOY_TEXT, REFUSALS, LocalReply, Refusal, RenderedError
from controlplane.domain.errors import PlaneError
from controlplane.domain.state import TERMINAL, State

CONTENT_TYPE = "application/json"

ERRORS: dict[str, tuple[int, str]] = {
    "INVALID_FIELD": (400, "invalid_request"),
    "MAX_DURATION_EXCEEDED": (400, "invalid_request"),
    "KEY_MISSING": (401, "unauthorized"),
    "KEY_INVALID": (401, "unauthorized"),
    "BUDGET_EXHAUSTED": (402, "budget_exhausted"),
    "SCOPE_MISSING": (403, "forbidden_scope"),
    "QUOTA_EXCEEDED": (403, "quota_exceeded"),
    "ACCOUNT_CLOSED": (403, "account_closed"),
    "RESOURCE_NOT_FOUND": (404, "not_found"),
    "METHOD_UNKNOWN": (404, "not_found"),
    "NO_MATCHING_OFFER": (409, "no_capacity"),
    "STATE_CONFLICT": (409, "conflict"),
    "IDEMPOTENCY_IN_PROGRESS": (409, "idempotency_conflict"),
    "IDEMPOTENCY_MISMATCH": (409, "idempotency_conflict"),
    "SECRET_NO_LONGER_SHOWN": (409, "idempotency_conflict"),
    "MESSAGE_TOO_LARGE": (413, "payload_too_large"),
    "RATE_LIMITED": (429, "rate_limited"),
    "STORE_UNAVAILABLE": (503, "unavailable"),
    "SERVER_STOPPING": (503, "unavailable"),
    "PROVIDER_UNAVAILABLE": (503, "unavailable"),
    "INTERNAL": (500, "internal"),
}
"""Status and code of every reason for which a call of this dialect can fail."""

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    429: "rate_limit_error",
}


def render_error(error: PlaneError, request_id: str) -> RenderedError:
    """A refusal of the core."""
    status, code = ERRORS.get(error.reason, ERRORS["INTERNAL"])
    return RenderedError(status, CONTENT_TYPE, _body(status, code, _sentence(error)))


def _sentence(error: PlaneError) -> str:
    """The core's sentence, in this API's names for fields and scopes."""
    if error.reason == "SCOPE_MISSING":
        return f"the key lacks the scope {word_of(error.metadata.get('scope', ''))}"
    if error.reason == "IDEMPOTENCY_MISMATCH":
        return "this X-Hoonify-Idempotency-Key was used before with a different request"
    if error.reason == "MAX_DURATION_EXCEEDED":
        return "duration_hours would take the reservation past its maximum"
    if error.reason == "STATE_CONFLICT" and error.metadata.get("state") in State.__members__:
        state = State(error.metadata["state"])
        return error.message.replace(f"({state})", f"({_ending_word(state)})")
    return error.message.replace("ssh_public_keys", "ssh_keys", 1)


def _ending_word(state: State) -> str:
    """The status of what ends or has ended: `draining` from the wish on, as terminate answers."""
    return STATES[state] if state in TERMINAL or STATES[state] == TERMINATED else DRAINING


def _body(status: int, code: str, message: str) -> dict[str, object]:
    kind = _TYPES.get(status) or ("api_error" if status >= 500 else "invalid_request_error")
    return {"error": {"type": kind, "code": code, "message": message}}


def _local_reply(refusal: Refusal) -> LocalReply:
    """What Envoy answers by itself, under its own status: there are more of them than reasons."""
    code = ERRORS[refusal.reason][1]
    # A sentence is promised, and Envoy has none for some malformed requests.
    message = f"the request is malformed: {ENVOY_TEXT}" if refusal.message == ENVOY_TEXT else refusal.message
    return LocalReply(refusal.status, _body(refusal.status, code, message), CONTENT_TYPE)


LOCAL_REPLIES = tuple(map(_local_reply, REFUSALS))
