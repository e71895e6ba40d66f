"""One exception tree: every refusal a caller can meet, each with its reason.

`reason` is a value of `gpuplane.v1.ErrorReason` without the prefix; `metadata` carries the keys that the enum's
comments name. The sentence is written for the caller: it names field, rule and value, and never holds a secret, SQL
or an internal path. The API maps a class to its gRPC code in one table (api/errors.py).
"""

from __future__ import annotations


class PlaneError(Exception):
    """Base of all refusals."""

    reason = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        retry_after_s: float | None = None,
        **metadata: object,
    ):
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason
        self.metadata = {key: str(value) for key, value in metadata.items()}
        self.retry_after_s = retry_after_s


class InvalidArgument(PlaneError):
    """The request breaks a rule, whatever the state of the world."""

    reason = "INVALID_FIELD"


class NotFound(PlaneError):
    """No such resource in the caller's account."""

    reason = "RESOURCE_NOT_FOUND"


class AlreadyExists(PlaneError):
    """A unique name is taken."""

    reason = "RESOURCE_EXISTS"


class FailedPrecondition(PlaneError):
    """The state of the world does not allow this now."""

    reason = "STATE_CONFLICT"


class Aborted(PlaneError):
    """The request conflicts with an earlier one."""

    reason = "IDEMPOTENCY_MISMATCH"


class OutOfRange(PlaneError):
    """Past a limit that moves: a retained window, a hard maximum."""

    reason = "RESUME_TOKEN_TOO_OLD"


class ResourceExhausted(PlaneError):
    """A budget, quota or rate is used up."""

    reason = "BUDGET_EXHAUSTED"


class Unauthenticated(PlaneError):
    """No key, or one that does not work."""

    reason = "KEY_INVALID"


class PermissionDenied(PlaneError):
    """The key works but does not carry this far."""

    reason = "SCOPE_MISSING"


class Unavailable(PlaneError):
    """Try again: nothing was changed."""

    reason = "STORE_UNAVAILABLE"


def invalid(field: str, rule: str, value: object) -> InvalidArgument:
    """The refusal of one field: its name, its rule, and the value got (cut to 100 characters)."""
    shown = str(value)
    if len(shown) > 100:
        shown = shown[:100] + "..."
    return InvalidArgument(f"{field} {rule}; got {shown!r}", field=field, rule=rule, value=shown)


def not_found(resource: str, id: str, where: str = "in this account") -> NotFound:
    """The refusal of an id that does not exist for the caller."""
    shown = id if len(id) <= 100 else id[:100] + "..."
    return NotFound(f"there is no {resource} {shown!r} {where}", resource=resource, id=shown)


ON_THE_MARKET = "on the market"
