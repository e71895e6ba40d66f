"""GPU.ai: every refusal is a problem with six members and one of the thirteen codes of the seed's document."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from gpuplane.v1.error_reason_pb2 import ErrorReason

from controlplane.api.dialects import gpuai
from controlplane.api.dialects.gpuai.errors import (
    CONTENT_TYPE,
    LOCAL_REPLIES,
    OPERATION_FAILED,
    PROBLEMS,
    TITLES,
    InvalidGpuType,
    render_error,
)
from controlplane.dialect import REFUSALS
from controlplane.domain.errors import Aborted, PermissionDenied, PlaneError, invalid

DOCUMENT: Any = json.loads(resources.files(gpuai).joinpath("openapi.json").read_text())
PROBLEM = DOCUMENT["components"]["schemas"]["Problem"]
CODES = set(PROBLEM["properties"]["code"]["enum"])

# Reasons that no call of this dialect meets: those of operations, of streams, and of extensions.
ELSEWHERE = {
    "UNSPECIFIED", "NO_CAPACITY", "START_TIMEOUT", "MACHINE_LOST", "CANCELLED", "LEASE_EXPIRED", "PROVIDER_REFUSED",
    "IDLE", "HOST_LOST", "PREEMPTED", "MAX_DURATION", "INVALID_RESUME_TOKEN", "RESUME_TOKEN_TOO_OLD",
    "MAX_DURATION_EXCEEDED",
}  # fmt: skip


def test_every_reason_of_a_call_has_a_status_and_a_code() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118
    assert reasons - ELSEWHERE == PROBLEMS.keys()
    assert {status for status, _ in PROBLEMS.values()} <= TITLES.keys()


def test_the_codes_are_the_thirteen_of_the_document() -> None:
    assert len(CODES) == 13
    assert {code for _, code in PROBLEMS.values()} | {"invalid_gpu_type", OPERATION_FAILED} == CODES


@pytest.mark.parametrize("reason", [*PROBLEMS, "NOT_HEARD_OF"])
def test_a_problem_has_all_six_members(reason: str) -> None:
    shown = render_error(PlaneError("why", reason=reason), "id-1")
    status, code = PROBLEMS.get(reason, (500, "internal_error"))
    assert shown.status == status
    assert shown.content_type == CONTENT_TYPE
    assert set(shown.body) == set(PROBLEM["required"])
    assert shown.body["type"] == f"https://api.gpu.ai/errors/{code}"
    assert shown.body["title"] == TITLES[status]
    assert shown.body["status"] == status
    assert shown.body["code"] == code
    assert shown.body["request_id"] == "id-1"


def test_details_name_what_this_api_calls_things() -> None:
    assert render_error(invalid("limit", "must be from 1 to 200", 0), "").body["detail"] == (
        "limit must be from 1 to 200; got '0'"
    )
    mismatch = render_error(Aborted("request_id 'a' was used before", request_id="a"), "")
    assert mismatch.body["detail"] == "this Idempotency-Key was used before with a different request"


@pytest.mark.parametrize(
    ("scope", "word"),
    [
        ("instances:read", "instances read"), ("instances:write", "instances write"),
        ("keys:read", "ssh_keys read"), ("keys:write", "ssh_keys write"), ("usage:read", "billing read"),
        ("webhooks:read", "webhooks read"), ("webhooks:write", "webhooks write"),
    ],
)  # fmt: skip
def test_scopes_go_by_the_vendor_s_names(scope: str, word: str) -> None:
    assert scope in gpuai.GPUAI.key_formats[0].scopes
    shown = render_error(PermissionDenied(f"the key lacks the scope {scope}", scope=scope), "")
    assert (shown.status, shown.body["detail"]) == (403, f"the key lacks the scope {word}")


def test_an_unknown_gpu_type_has_a_code_of_its_own() -> None:
    shown = render_error(InvalidGpuType("gpu_type", field="gpu_type"), "")
    assert (shown.status, shown.body["code"]) == (422, "invalid_gpu_type")


def test_envoy_answers_in_the_same_shape() -> None:
    assert [reply.status for reply in LOCAL_REPLIES] == [refusal.status for refusal in REFUSALS]
    for reply in LOCAL_REPLIES:
        assert reply.content_type == CONTENT_TYPE
        assert set(reply.body) == set(PROBLEM["required"])
        assert reply.body["status"] == reply.shown_status
        assert reply.body["code"] in CODES
    codes = {reply.status: (reply.shown_status, reply.body["code"]) for reply in LOCAL_REPLIES}
    assert codes[400] == (422, "validation_failed")
    assert codes[404] == (404, "not_found")
    assert codes[413] == (413, "validation_failed")
    assert codes[429] == (429, "rate_limited")
    assert codes[431] == (431, "validation_failed")
    assert {codes[status] for status in (500, 502, 503, 504)} == {(s, "internal_error") for s in (500, 502, 503, 504)}
