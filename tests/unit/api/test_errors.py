import inspect
import json

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from gpuplane.v1 import error_reason_pb2

from controlplane.api import errors as api
from controlplane.dialect import RenderedError
from controlplane.domain import errors

REASONS = {value.name for value in error_reason_pb2.ErrorReason.DESCRIPTOR.values}
CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.PlaneError)]


def status(error, **kw):
    failure = api.failure(error, "req-1", **kw)
    return failure, status_pb2.Status.FromString(dict(failure.trailing)["grpc-status-details-bin"])


def detail(status, kind):
    for packed in status.details:
        found = kind()
        if packed.Unpack(found):
            return found
    return None


@pytest.mark.parametrize("cls", [*CLASSES, api.MethodUnknown])
def test_every_class_has_its_own_row_and_a_known_reason(cls):
    assert cls in api._CODES
    assert f"ERROR_REASON_{cls.reason}" in REASONS


def test_a_subclass_has_the_code_of_its_base():
    class Narrow(errors.NotFound):
        pass

    assert api.code_of(Narrow("x")) is grpc.StatusCode.NOT_FOUND


def test_details_of_a_field():
    failure, shown = status(errors.invalid("labels", "has more than 64 entries", 65))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    info = detail(shown, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == ("INVALID_FIELD", "gpuplane")
    assert dict(info.metadata) == {"field": "labels", "rule": "has more than 64 entries", "value": "65"}
    violation = detail(shown, error_details_pb2.BadRequest).field_violations[0]
    assert (violation.field, violation.description) == ("labels", "has more than 64 entries")
    assert dict(failure.trailing)["x-request-id"] == "req-1"


def test_retry_after():
    error = errors.ResourceExhausted("slow down", reason="RATE_LIMITED", retry_after_s=1.25, limit="100")
    failure, shown = status(error)
    assert dict(failure.trailing)["retry-after"] == "2"
    assert detail(shown, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 1250
    assert detail(shown, error_details_pb2.ErrorInfo).metadata["retry_after_s"] == "2"


def test_quota_names_its_subject():
    error = errors.ResourceExhausted("budget b1 cannot hold it", budget_id="b1", limit="5")
    _, shown = status(error)
    violation = detail(shown, error_details_pb2.QuotaFailure).violations[0]
    assert (violation.subject, violation.description) == ("b1", "budget b1 cannot hold it")


def test_messages_are_ascii_and_the_same_in_both_places():
    failure, shown = status(errors.NotFound("há\r\n日本 \x00 \U0001f600"))
    assert failure.message == "h\\xe1\\r\\n\\u65e5\\u672c \\x00 \\U0001f600"
    assert shown.message == failure.message


def test_everything_stays_within_a_header():
    error = errors.ResourceExhausted("é" * 10_000, **{f"key{i}": "v" * 10_000 for i in range(50)})
    failure, _ = status(error)
    assert len(failure.message) <= api.MAX_MESSAGE
    assert failure.message.endswith("...")
    assert len(failure.message) + sum(len(k) + len(v) * 4 // 3 for k, v in failure.trailing) < 8000


def test_a_dialect_renders_its_own():
    def render(error, request_id):
        body = {"error": error.message, "request_id": request_id}
        return RenderedError(402, "application/problem+json", body)

    failure, _ = status(errors.ResourceExhausted("né\n"), renderer=render)
    trailing = dict(failure.trailing)
    assert trailing["x-http-status"] == "402"
    assert trailing["x-http-type"] == "application/problem+json"
    assert trailing["x-http-body"].isascii()
    assert json.loads(trailing["x-http-body"]) == {"error": "né\n", "request_id": "req-1"}


@pytest.mark.parametrize("body", [{"not": {"json"}}, None])
def test_a_broken_renderer_leaves_the_status(body):
    def render(error, request_id):
        if body is None:
            raise KeyError("bug")
        return RenderedError(400, "application/json", body)

    failure, shown = status(errors.NotFound("x"), renderer=render)
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert "x-http-body" not in dict(failure.trailing)
    assert detail(shown, error_details_pb2.ErrorInfo).reason == "RESOURCE_NOT_FOUND"
