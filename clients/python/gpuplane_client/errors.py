"""What a caller can meet: one refusal of a call, one failure of an operation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from gpuplane.v1.operation_pb2 import Operation, OperationState

DETAILS_KEY = "grpc-status-details-bin"


class ApiError(Exception):
    """A call was refused or did not get through.

    `reason` is a stable word of `gpuplane.v1.ErrorReason` (e.g. `NO_MATCHING_OFFER`); it is empty when the
    answer did not come from gpuplane but from the way there. `metadata` holds the keys which that reason
    documents.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {self.message}"

    @property
    def unreachable(self) -> bool:
        """The server could not be reached, as opposed to: it answered that something is unavailable."""
        return self.code is grpc.StatusCode.UNAVAILABLE and not self.reason

    @property
    def retry_after(self) -> float:
        """Seconds that the server asked to wait before the next try."""
        try:
            return float(self.metadata.get("retry_after_s", 0))
        except ValueError:
            return 0.0

    @classmethod
    def from_rpc(cls, error: grpc.RpcError) -> ApiError:
        """Read the rich status out of a failed call, synchronous or not."""
        reason, metadata = _error_info(error.trailing_metadata() or ())
        return cls(error.code(), error.details() or "", reason=reason, metadata=metadata)


class OperationFailed(Exception):
    """The operation ended as FAILED or CANCELLED; it holds its steps and every attempt with its cause."""

    def __init__(self, operation: Operation) -> None:
        state = OperationState.Name(operation.state).removeprefix("OPERATION_STATE_").lower()
        super().__init__(f"operation {operation.id} {state}: {operation.error.message or operation.error.reason}")
        self.operation = operation

    @property
    def reason(self) -> str:
        """Word of `gpuplane.v1.ErrorReason`, e.g. `NO_CAPACITY`."""
        return self.operation.error.reason


def _error_info(metadata: Iterable[Any]) -> tuple[str, dict[str, str]]:
    from google.rpc.error_details_pb2 import ErrorInfo
    from google.rpc.status_pb2 import Status

    info = ErrorInfo()
    for key, value in metadata:
        if key == DETAILS_KEY:
            for detail in Status.FromString(value).details:
                if detail.Unpack(info):
                    return info.reason, dict(info.metadata)
    return "", {}
