"""Failures as people and scripts see them: one line on stderr and an exit code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

FAILED = 1
USAGE = 2
UNREACHABLE = 3
OPERATION_FAILED = 4
TIMED_OUT = 5
INTERRUPTED = 130

_HINTS = {
    "KEY_MISSING": "set GPUPLANE_KEY, or run where `gpuplane up` keeps .gpuplane, or say --state DIR",
    "KEY_INVALID": "is GPUPLANE_KEY, or the state folder, that of this server?",
    "OPERATOR_ONLY": "this needs the key in .gpuplane/operator.key, or GPUPLANE_KEY set to it",
    "NO_MATCHING_OFFER": "see what there is: gpuplane offers",
    "NO_CAPACITY": "see what is left: gpuplane offers",
    "BUDGET_EXHAUSTED": "see: gpuplane budgets list",
}


class Failure(Exception):
    """A failure with its own exit code."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


@contextmanager
def at_endpoint(endpoint: str) -> Iterator[None]:
    """Name the server in failures to reach it."""
    from gpuplane_client import ApiError

    try:
        yield
    except ApiError as error:
        if not error.unreachable:
            raise
        why = "connection refused" if "onnection refused" in error.message else error.message
        raise Failure(
            f"cannot reach the server at {endpoint} ({why}); start one with `gpuplane up`, "
            "or name it by --state DIR or GPUPLANE_ENDPOINT",
            UNREACHABLE,
        ) from error


def report(error: BaseException) -> int:
    """Print the one line and return the exit code."""
    if os.environ.get("GPUPLANE_DEBUG"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, click.UsageError):
        error.show()
        return USAGE
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return INTERRUPTED
    line, code = _explain(error)
    click.echo(f"{click.style('error:', fg='red')} {line}", err=True)
    return code


def _explain(error: BaseException) -> tuple[str, int]:
    if isinstance(error, Failure):
        return error.message, error.exit_code
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, TimeoutError):
        return str(error), TIMED_OUT
    # Only now: a command that never got as far as grpc should not pay for importing it.
    import grpc
    from gpuplane_client import ApiError, OperationFailed

    if isinstance(error, OperationFailed):
        return _with_hint(error.reason, f"{error.reason}: {error}"), OPERATION_FAILED
    if isinstance(error, ApiError):
        code = TIMED_OUT if error.code is grpc.StatusCode.DEADLINE_EXCEEDED else FAILED
        if error.reason == "SERVER_STOPPING":  # Envoy answers for a server that is not there
            code = UNREACHABLE
        return _with_hint(error.reason, str(error)), code
    if isinstance(error, OSError):
        return str(error), FAILED
    return f"{type(error).__name__}: {error} (GPUPLANE_DEBUG=1 shows where)", FAILED


def _with_hint(reason: str, line: str) -> str:
    line = " ".join(line.split())
    return f"{line} ({_HINTS[reason]})" if reason in _HINTS else line
