"""What both clients know about waiting for an operation, without any I/O."""

from __future__ import annotations

import time
from typing import Any

from google.protobuf.duration_pb2 import Duration
from gpuplane.v1.operation_pb2 import OPERATION_STATE_SUCCEEDED, Operation
from gpuplane.v1.operation_service_pb2 import WaitOperationRequest

from gpuplane_client.errors import ApiError, OperationFailed
from gpuplane_client.retry import is_outage, outage_policy

# One WaitOperation is shorter than any proxy's idle limit; with somebody looking on, it returns to show the
# progress.
_SLICE_S = 20.0
_SHOWN_SLICE_S = 1.0


class Waiting:
    """The plan of one wait: how long each call lasts, and what its answer means."""

    def __init__(self, operation: Operation | str, timeout: float | None, shown: bool, outage: float) -> None:
        self.id = operation if isinstance(operation, str) else operation.id
        self._timeout = timeout
        self._slice = _SHOWN_SLICE_S if shown else _SLICE_S
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._outage = outage

    def request(self) -> WaitOperationRequest:
        duration = Duration()
        duration.FromMicroseconds(int(min(self._slice, self._left()) * 1e6))
        return WaitOperationRequest(id=self.id, timeout=duration)

    @property
    def call_deadline(self) -> float:
        """The server answers after the slice; what is later than this is a broken way."""
        return self._slice + 10

    def policy(self) -> dict[str, Any]:
        return outage_policy(min(self._outage, self._left()))

    def unanswered(self, error: ApiError) -> Exception:
        """What a call came to that was given up: time is up if there is less of it left than an outage is borne."""
        return self._time_is_up() if is_outage(error) and self._left() < self._outage else error

    def settle(self, operation: Operation) -> bool:
        """True when the operation succeeded, False when it goes on; raises when it failed or time is up."""
        if operation.HasField("done_time"):
            if operation.state != OPERATION_STATE_SUCCEEDED:
                raise OperationFailed(operation)
            return True
        if self._deadline is not None and self._left() <= 0:
            raise self._time_is_up()
        return False

    def _time_is_up(self) -> TimeoutError:
        return TimeoutError(f"operation {self.id} is not done after {self._timeout:g} s; it goes on")

    def _left(self) -> float:
        return float("inf") if self._deadline is None else max(0.0, self._deadline - time.monotonic())
