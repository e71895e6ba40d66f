"""Every refusal in Hoonify's shape."""

from __future__ import annotations

import json

import pytest
from gpuplane.v1.error_reason_pb2 import ErrorReason

from controlplane.api.dialects.hoonify.errors import ERRORS, LOCAL_REPLIES, render_error
from controlplane.dialect import REFUSALS
from controlplane.domain import errors
from controlplane.domain.errors import PlaneError, invalid, not_found

DOCUMENTED = {"unauthorized": 401, "forbidden_scope": 403, "no_capacity": 409, "rate_limited": 429}

# Reasons that no call of this dialect ends with: states of instances and operations, and calls that it does not have.
ELSEWHERE = {
    "UNSPECIFIED", "INVALID_PAGE_TOKEN", "INVALID_RESUME_TOKEN", "RESUME_TOKEN_TOO_OLD", "OPERATOR_ONLY",
    "RESOURCE_EXISTS", "OFFER_TOO_DEAR", "NO_CAPACITY", "START_TIMEOUT", "MACHINE_LOST",
    "CANCELLED", "LEASE_EXPIRED", "PROVIDER_REFUSED", "IDLE", "HOST_LOST", "PREEMPTED", "MAX_DURATION",
}  # fmt: skip


def test_every_reason_is_in_the_table_or_cannot_happen() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118
    webhooks = {reason for reason in reasons if "WEBHOOK" in reason}
    assert reasons - ERRORS.keys() - webhooks == ELSEWHERE
    assert not ERRORS.keys() & ELSEWHERE


def test_documented_codes_have_their_statuses() -> None:
    statuses = {code: status for status, code in ERRORS.values()}
    assert {code: statuses[code] for code in DOCUMENTED} == DOCUMENTED


@pytest.mark.parametrize("reason", ERRORS)
def test_the_shape(reason: str) -> None:
    rendered = render_error(PlaneError("a sentence", reason=reason), "req-1")
    status, code = ERRORS[reason]
    assert (rendered.status, rendered.content_type) == (status, "application/json")
    body = json.loads(json.dumps(rendered.body))
    assert set(body) == {"error"}
    assert set(body["error"]) == {"type", "code", "message"}
    assert body["error"]["code"] == code
    assert body["error"]["message"]


def test_a_reason_that_nobody_foresaw_is_a_fault_of_ours() -> None:
    rendered = render_error(PlaneError("x", reason="NEW"), "req-1")
    assert rendered.status == 500
    assert rendered.body == {"error": {"type": "api_error", "code": "internal", "message": "x"}}


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (
            errors.PermissionDenied("...", scope="instances:write"),
            "permission_error", "the key lacks the scope compute:write",
        ),
        (errors.PermissionDenied("...", scope="keys:write"), "permission_error", "the key lacks the scope admin:write"),
        (
            invalid("ssh_public_keys[0]", "must be one OpenSSH public key", "x"),
            "invalid_request_error", "ssh_keys[0] must be one OpenSSH public key; got 'x'",
        ),
        (
            errors.Aborted("request_id 'x' was used before with a different request"),
            "invalid_request_error", "this X-Hoonify-Idempotency-Key was used before with a different request",
        ),
        (
            errors.OutOfRange("...", reason="MAX_DURATION_EXCEEDED"),
            "invalid_request_error", "duration_hours would take the reservation past its maximum",
        ),
        *(
            (
                errors.FailedPrecondition(f"instance i is ending or has ended ({state})", state=state),
                "invalid_request_error", f"instance i is ending or has ended ({word})",
            )
            for state, word in {
                "RUNNING": "draining", "STOPPING": "draining", "ACCEPTED": "draining", "STOPPED": "terminated",
                "TERMINATED": "terminated", "FAILED": "failed",
            }.items()
        ),
        (
            errors.FailedPrecondition("API key k is revoked or expired"),
            "invalid_request_error", "API key k is revoked or expired",
        ),
        (not_found("instance", "i"), "invalid_request_error", "there is no instance 'i' in this account"),
        (errors.Unauthenticated("no key"), "authentication_error", "no key"),
        (errors.ResourceExhausted("too many", reason="RATE_LIMITED"), "rate_limit_error", "too many"),
        (errors.ResourceExhausted("spent"), "billing_error", "spent"),
        (errors.Unavailable("later"), "api_error", "later"),
    ],
)  # fmt: skip
def test_sentences_are_in_this_api_s_words(error: PlaneError, kind: str, sentence: str) -> None:
    shown = render_error(error, "req-1").body["error"]
    assert isinstance(shown, dict)
    assert (shown["type"], shown["message"]) == (kind, sentence)


def test_envoy_refuses_in_the_same_shape() -> None:
    assert [reply.status for reply in LOCAL_REPLIES] == [refusal.status for refusal in REFUSALS]
    for reply in LOCAL_REPLIES:
        error = reply.body["error"]
        assert isinstance(error, dict)
        assert set(error) == {"type", "code", "message"}
        assert error["message"] != "%LOCAL_REPLY_BODY%", "which may be empty"
        assert (error["type"] == "api_error") == (reply.status >= 500)
