"""Structured logs: JSON lines, or colours when a person is looking.

The request id and account of the call being served are on every line written for it, whoever writes it.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from contextvars import ContextVar
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_call: ContextVar[tuple[str, str] | None] = ContextVar("call", default=None)

# Whoever logs one of these by mistake logs three asterisks.
_SECRET = frozenset({
    "api_key", "authorization", "credential", "key", "password", "private_key", "prompt", "secret", "token",
})  # fmt: skip


def bind_call(request_id: str, account: str) -> None:
    """Put a call's id and account on the lines of the current task. One set: it happens on every call."""
    _call.set((request_id, account))


class _Lossy:
    """A stream whose faults stay its own: a full disk or a closed pipe loses lines, and fails nobody's call."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def setup(level: str = "info", *, stream: TextIO = sys.stderr, json: bool | None = None) -> None:
    """Configure logging of the process, libraries included. `json` None: unless a person is looking."""
    if json is None:
        json = not stream.isatty()
    lossy: Any = _Lossy(stream)
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_call,
        _hide_secrets,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Processor]
    if json:
        render = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        render = [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(lossy),
        cache_logger_on_first_use=False,  # tests configure again; loops bind their logger once instead
    )
    handler = logging.StreamHandler(lossy)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))  # what libraries chat about is theirs, not ours


def _add_call(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    call = _call.get()
    if call is not None:
        event.setdefault("request_id", call[0])
        event.setdefault("account", call[1])
    return event


def _hide_secrets(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    for name in _SECRET.intersection(event):
        event[name] = "***"
    return event


def get(name: str) -> Any:
    """A logger that carries its part's name."""
    return structlog.get_logger().bind(part=name)
