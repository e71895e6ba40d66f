"""Every retry policy of the client, for tenacity: when to try again, how long to pause, when to give up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc
from tenacity import RetryCallState, retry_if_exception, stop_before_delay, wait_random_exponential

from gpuplane_client.errors import ApiError

# No request id protects these: after a lost answer a second call could make a second key, or report
# NOT_FOUND for what the first one did.
_NOT_REPEATABLE = frozenset({"CreateApiKey", "DeleteSshKey", "DeleteBudget"})

# What a proxy or a cut connection makes of a call, when it carries no reason of ours.
_BROKEN_WAY = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)
_jitter = wait_random_exponential(multiplier=0.2, max=5)


class Interrupted(Exception):
    """A stream stopped for a reason that a new stream mends."""


def call_policy(method: str, retry_for: float) -> dict[str, Any]:
    """One unary call: again when the server asks for it, or the way broke and a second call does no harm."""

    def again(error: BaseException) -> bool:
        if not isinstance(error, ApiError):
            return False
        if error.unreachable:
            return method not in _NOT_REPEATABLE
        return _asked_to_come_back(error)

    return _policy(again, stop_before_delay(retry_for))


def outage_policy(outage: float) -> dict[str, Any]:
    """Reading on over an outage. It counts from the first failure, for a stream may be silent for long."""

    def again(error: BaseException) -> bool:
        return is_outage(error) if isinstance(error, ApiError) else isinstance(error, Interrupted)

    def stop(state: RetryCallState) -> bool:
        now = time.monotonic()
        broken_since: float = state.retry_object.statistics.setdefault("broken_since", now)
        return now + state.upcoming_sleep - broken_since > outage

    return _policy(again, stop)


def is_outage(error: ApiError) -> bool:
    """Whether the server may answer later."""
    return (error.code in _BROKEN_WAY and not error.reason) or _asked_to_come_back(error)


def _asked_to_come_back(error: ApiError) -> bool:
    return (error.code is grpc.StatusCode.UNAVAILABLE and bool(error.reason)) or error.reason == "RATE_LIMITED"


def _policy(again: Callable[[BaseException], bool], stop: Any) -> dict[str, Any]:
    return {"retry": retry_if_exception(again), "wait": _pause, "stop": stop, "reraise": True}


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    hint = error.retry_after if isinstance(error, ApiError) else 0.0
    return max(hint, _jitter(state))
