"""The one place where an error becomes a gRPC status with details, and, for a dialect, a REST answer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import grpc
import structlog
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from controlplane.dialect import ErrorRenderer
from controlplane.domain import errors
from controlplane.domain.errors import PlaneError

DOMAIN = "gpuplane"

# Message, details and the base64 of the details all travel in headers; gRPC clients refuse more than 8 KiB.
MAX_MESSAGE = 700
MAX_VALUE = 256
MAX_KEYS = 10

_CODES: dict[type[PlaneError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    PlaneError: grpc.StatusCode.INTERNAL,
}


class MethodUnknown(PlaneError):
    """There is no such rpc."""

    reason = "METHOD_UNKNOWN"


_CODES[MethodUnknown] = grpc.StatusCode.UNIMPLEMENTED


@dataclass(frozen=True, slots=True)
class Failure:
    """The end of a failed call."""

    code: grpc.StatusCode
    reason: str
    message: str
    trailing: tuple[tuple[str, str | bytes], ...]


def code_of(error: PlaneError) -> grpc.StatusCode:
    """The gRPC code of an error's class, or of the nearest base that has one."""
    return next(_CODES[cls] for cls in type(error).__mro__ if cls in _CODES)


def internal(request_id: str) -> PlaneError:
    """What a caller learns of a fault of ours: where to find it, nothing else."""
    return PlaneError(f"internal error; quote the request id {request_id}", request_id=request_id)


def failure(error: PlaneError, request_id: str, renderer: ErrorRenderer | None = None) -> Failure:
    """Render an error; with a dialect's renderer also as that dialect's REST answer."""
    code = code_of(error)
    message = ascii_text(error.message, MAX_MESSAGE)
    trailing: list[tuple[str, str | bytes]] = [
        ("grpc-status-details-bin", _status(error, code, message).SerializeToString()),
        ("x-request-id", request_id),
    ]
    if error.retry_after_s is not None:
        trailing.append(("retry-after", str(_whole_seconds(error.retry_after_s))))
    if renderer is not None:
        trailing += _rest(renderer, error, request_id)
    return Failure(code, error.reason, message, tuple(trailing))


def ascii_text(text: str, limit: int) -> str:
    """Printable ASCII of at most `limit` characters.

    gRPC escapes other text for its header, and clients differ in whether they undo that. The details carry
    the same text, because grpc_status refuses details that differ.
    """
    safe = "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in text[:limit])
    return safe if len(safe) <= limit and len(text) <= limit else safe[: limit - 3] + "..."


def _whole_seconds(seconds: float) -> int:
    return max(1, math.ceil(seconds))


def _status(error: PlaneError, code: grpc.StatusCode, message: str) -> status_pb2.Status:
    metadata = {
        key: value if len(value) <= MAX_VALUE else value[:MAX_VALUE] + "..."
        for key, value in list(_metadata(error).items())[:MAX_KEYS]
    }
    status = status_pb2.Status(code=code.value[0], message=message)
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)]
    if isinstance(error, errors.InvalidArgument) and "field" in metadata:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=metadata["field"], description=metadata.get("rule", message)
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, errors.ResourceExhausted):
        subject = metadata.get("budget_id") or metadata.get("resource") or error.reason.lower()
        quota = error_details_pb2.QuotaFailure.Violation(subject=subject, description=message)
        details.append(error_details_pb2.QuotaFailure(violations=[quota]))
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(math.ceil(error.retry_after_s * 1000))
        details.append(retry)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def _metadata(error: PlaneError) -> Mapping[str, str]:
    if error.retry_after_s is None:
        return error.metadata
    return {**error.metadata, "retry_after_s": str(_whole_seconds(error.retry_after_s))}


def _rest(renderer: ErrorRenderer, error: PlaneError, request_id: str) -> list[tuple[str, str | bytes]]:
    try:
        shown = renderer(error, request_id)
        body = json.dumps(shown.body)  # ASCII by default, as it travels in a header
    except Exception:  # the call still ends with its status; Envoy shows that in the canonical shape
        structlog.get_logger("api").exception("error renderer failed", request_id=request_id)
        return []
    return [
        ("x-http-status", str(shown.status)),
        ("x-http-type", shown.content_type),
        ("x-http-body", body),
    ]
