"""Errors as `{"error": sentence, "request_id": id}`, some with documented members between the two (seed 001).

The seed names 400, 401, 404, 409, 500 and 503; what it does not foresee (no money, too many calls) has the status that
HTTP has for it. Unknown paths answer in this shape too: "all errors follow this format".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from controlplane.api.dialects.shopper.translate import STATES
from controlplane.dialect import ENVOY_TEXT, REFUSALS, REQUEST_ID, LocalReply, Refusal, RenderedError
from controlplane.domain.errors import InvalidArgument, PlaneError, Unavailable
from controlplane.domain.state import State

CONTENT_TYPE = "application/json; charset=utf-8"

_RESOURCES = {"instance": "session"}

STALE = "offer unavailable due to stale inventory"
STALE_ADVICE = "The selected offer is no longer available. Please refresh inventory and select a different offer."

STATUS = {
    "INVALID_FIELD": 400,
    "MAX_DURATION_EXCEEDED": 400,
    "KEY_MISSING": 401,
    "KEY_INVALID": 401,
    "BUDGET_EXHAUSTED": 402,
    "SCOPE_MISSING": 403,
    "OPERATOR_ONLY": 403,
    "QUOTA_EXCEEDED": 403,
    "ACCOUNT_CLOSED": 403,
    "RESOURCE_NOT_FOUND": 404,
    "METHOD_UNKNOWN": 404,
    "RESOURCE_EXISTS": 409,
    "STATE_CONFLICT": 409,
    "IDEMPOTENCY_IN_PROGRESS": 409,
    "IDEMPOTENCY_MISMATCH": 409,
    "SECRET_NO_LONGER_SHOWN": 409,
    "MESSAGE_TOO_LARGE": 413,
    "RATE_LIMITED": 429,
    "INTERNAL": 500,
    "PROVIDER_REFUSED": 500,
    "NO_MATCHING_OFFER": 503,
    "STORE_UNAVAILABLE": 503,
    "SERVER_STOPPING": 503,
    "PROVIDER_UNAVAILABLE": 503,
}
"""Status of every reason for which a call of this dialect can fail."""


@runtime_checkable
class Documented(Protocol):
    """A refusal whose body documents more than the sentence."""

    @property
    def extras(self) -> Mapping[str, object]:
        """The other members, as JSON values."""
        ...


class StaleInventory(Unavailable):
    """The marketplace would not sell an offer that the inventory still shows."""

    reason = "NO_MATCHING_OFFER"

    def __init__(self, offer_id: str, provider: str) -> None:
        super().__init__(STALE, offer_id=offer_id)
        self.extras = {
            "error_type": "stale_inventory",
            "offer_id": offer_id,
            "provider": provider,
            "retry_suggested": True,
            "message": STALE_ADVICE,
        }


class InsufficientDisk(InvalidArgument):
    """The disk that is asked for cannot hold the model. Sizes are GB; `breakdown` says what needs how much."""

    def __init__(
        self, message: str, requested_gb: int, minimum_gb: int, recommended_gb: int, breakdown: Mapping[str, object]
    ) -> None:
        super().__init__(message, field="disk_gb", rule=f"must be at least {minimum_gb}", value=requested_gb)
        self.extras = {
            "error_type": "insufficient_disk",
            "requested_gb": requested_gb,
            "minimum_gb": minimum_gb,
            "recommended_gb": recommended_gb,
            "breakdown": dict(breakdown),
        }


def render_error(error: PlaneError, request_id: str) -> RenderedError:
    """A refusal of the core."""
    extras = error.extras if isinstance(error, Documented) else {}
    body = {"error": _sentence(error), **extras, "request_id": request_id}
    return RenderedError(STATUS.get(error.reason, STATUS["INTERNAL"]), CONTENT_TYPE, body)


def _sentence(error: PlaneError) -> str:
    """The core's sentence, in this API's names for resources and states."""
    if error.reason == "RESOURCE_NOT_FOUND":
        resource = error.metadata.get("resource", "resource")
        return f"{_RESOURCES.get(resource, resource)} not found: {error.metadata.get('id', '')}"
    if error.reason == "STATE_CONFLICT" and error.metadata.get("state") in State.__members__:
        state = State(error.metadata["state"])
        return error.message.replace(f"({state})", f"({STATES[state]})")
    if error.reason == "IDEMPOTENCY_MISMATCH":
        return "this Idempotency-Key was used before with a different request"
    return error.message


def _local_reply(refusal: Refusal) -> LocalReply:
    """What Envoy answers by itself, under its own status."""
    # A sentence is promised, and Envoy has none for some malformed requests.
    message = f"the request is malformed: {ENVOY_TEXT}" if refusal.message == ENVOY_TEXT else refusal.message
    return LocalReply(refusal.status, {"error": message, "request_id": REQUEST_ID}, CONTENT_TYPE)


LOCAL_REPLIES = tuple(map(_local_reply, REFUSALS))
