"""Errors as RFC 7807 problems: six members and one of thirteen codes (seed 003, schema Problem).

Which status goes with a code is the vendor's page on conventions where it says so, and common sense where that page
is cut off: docs/dialects/gpuai.md tells which.
"""

from __future__ import annotations

from controlplane.dialect import ENVOY_TEXT, REFUSALS, REQUEST_ID, LocalReply, Refusal, RenderedError
from controlplane.domain.errors import InvalidArgument, PlaneError

CONTENT_TYPE = "application/problem+json"

# Spelled out, because the phrases of http.HTTPStatus differ between versions of Python.
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    409: "Conflict",
    413: "Request Entity Too Large",
    422: "Unprocessable Entity",
    426: "Upgrade Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}

PROBLEMS: dict[str, tuple[int, str]] = {
    "INVALID_FIELD": (422, "validation_failed"),
    "INVALID_PAGE_TOKEN": (422, "validation_failed"),
    "RESOURCE_EXISTS": (422, "validation_failed"),
    "STATE_CONFLICT": (422, "validation_failed"),
    "NO_MATCHING_OFFER": (422, "validation_failed"),
    "OFFER_TOO_DEAR": (422, "validation_failed"),
    "MESSAGE_TOO_LARGE": (413, "validation_failed"),
    "KEY_MISSING": (401, "unauthenticated"),
    "KEY_INVALID": (401, "invalid_api_key"),
    "SCOPE_MISSING": (403, "insufficient_scope"),
    "OPERATOR_ONLY": (403, "insufficient_scope"),
    "ACCOUNT_CLOSED": (403, "insufficient_scope"),
    "RESOURCE_NOT_FOUND": (404, "not_found"),
    "METHOD_UNKNOWN": (404, "not_found"),
    "IDEMPOTENCY_IN_PROGRESS": (409, "idempotency_conflict"),
    "IDEMPOTENCY_MISMATCH": (422, "idempotency_mismatch"),
    "SECRET_NO_LONGER_SHOWN": (422, "idempotency_mismatch"),
    "BUDGET_EXHAUSTED": (402, "insufficient_balance"),
    "QUOTA_EXCEEDED": (403, "quota_exceeded"),
    "RATE_LIMITED": (429, "rate_limited"),
    "STORE_UNAVAILABLE": (503, "internal_error"),
    "SERVER_STOPPING": (503, "internal_error"),
    "PROVIDER_UNAVAILABLE": (503, "internal_error"),
    "INTERNAL": (500, "internal_error"),
}
"""Status and code of every reason for which a call of this dialect can fail."""

OPERATION_FAILED = "operation_failed"
"""The thirteenth code: in operations, never of a call."""

# Sentences of the core that speak of fields which this API calls otherwise.
_SENTENCES = {
    "INVALID_PAGE_TOKEN": "cursor is malformed or belongs to another query",
    "IDEMPOTENCY_MISMATCH": "this Idempotency-Key was used before with a different request",
    "SECRET_NO_LONGER_SHOWN": "this Idempotency-Key was used before, and the secret can no longer be shown",
}

# What the vendor calls the things that our scopes open; `:read` and `:write` are its words, too.
_THINGS = {"keys": "ssh_keys", "usage": "billing"}


class InvalidGpuType(InvalidArgument):
    """The GPU type is none that we know."""


def render_error(error: PlaneError, request_id: str) -> RenderedError:
    """A refusal as a problem."""
    status, code = PROBLEMS.get(error.reason, PROBLEMS["INTERNAL"])
    if isinstance(error, InvalidGpuType):
        code = "invalid_gpu_type"
    return RenderedError(status, CONTENT_TYPE, _problem(status, code, _detail(error), request_id))


def _detail(error: PlaneError) -> str:
    """The core's sentence, in this API's names for fields and scopes."""
    if error.reason == "SCOPE_MISSING":
        thing, _, verb = error.metadata.get("scope", "").partition(":")
        return f"the key lacks the scope {_THINGS.get(thing, thing)} {verb}"
    return _SENTENCES.get(error.reason, error.message)


def _problem(status: int, code: str, detail: str, request_id: str) -> dict[str, object]:
    return {
        "type": f"https://api.gpu.ai/errors/{code}",
        "title": TITLES[status],
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }


def _local_reply(refusal: Refusal) -> LocalReply:
    """What Envoy answers by itself. Its 400 is about the request's content: 422 here."""
    status = 422 if refusal.status == 400 else refusal.status
    code = PROBLEMS.get(refusal.reason, PROBLEMS["INTERNAL"])[1]
    # Every detail needs a text, and Envoy has none for some malformed requests.
    detail = f"the request is malformed: {ENVOY_TEXT}" if refusal.message == ENVOY_TEXT else refusal.message
    return LocalReply(refusal.status, _problem(status, code, detail, REQUEST_ID), CONTENT_TYPE, shown_status=status)


LOCAL_REPLIES = tuple(map(_local_reply, REFUSALS))
