"""What a handler sees of the call it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from controlplane.api.interceptors.auth import ANONYMOUS
from controlplane.api.interceptors.request_id import request_id_of
from controlplane.api.methods import Method
from controlplane.domain.principal import Principal


class Call:
    """One call: who makes it, under which id, and how REST is to show the answer.

    `stopping` is set when the server begins to stop: a stream then sends its in-band end and returns, a long
    wait answers with what it has.
    """

    __slots__ = ("_context", "headers", "metadata", "method", "principal", "request_id", "stopping")

    def __init__(self, context: Any, metadata: Mapping[str, str | bytes], method: Method, stopping: asyncio.Event):
        self._context = context
        self.metadata = metadata
        self.method = method
        self.stopping = stopping
        self.principal: Principal = ANONYMOUS
        self.request_id = request_id_of(metadata.get("x-request-id"))
        self.headers: list[tuple[str, str]] | None = None

    @property
    def dialect(self) -> str | None:
        """The dialect whose REST route the call came by, as Envoy says it; None for native gRPC."""
        return self.metadata.get("x-dialect")  # type: ignore[return-value]

    @property
    def is_rest(self) -> bool:
        """Whether the answer will be shown as REST."""
        return "x-dialect" in self.metadata

    @property
    def plain_headers(self) -> list[tuple[str, str]]:
        """The headers set so far that do not speak of status or body: an error's answer carries them, too."""
        return [(name, value) for name, value in self.headers or () if not name.startswith("x-http-")]

    def values(self, name: str) -> list[str]:
        """What the caller sent under this lower-case name, every time that it sent it; `metadata` has the last."""
        return [str(value) for key, value in self._context.invocation_metadata() if key == name]

    @property
    def peer(self) -> str:
        """Address of the peer as gRPC writes it; behind Envoy it is Envoy's."""
        peer: str = self._context.peer()
        return peer

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline, at least 0; None without one."""
        left: float | None = self._context.time_remaining()
        return left

    def set_http_status(self, code: int) -> None:
        """Have REST show this status instead of 200. Native gRPC callers never see it."""
        self.set_http_header("x-http-status", str(code))

    def set_http_header(self, name: str, value: str) -> None:
        """Add a header (lower-case name, printable ASCII value) to the REST answer."""
        if self.method.server_streaming:
            # Envoy then shows an error that follows as 200; see Pipeline.stream.
            raise RuntimeError(f"{self.method.label} streams: its headers cannot be set")
        if self.is_rest:
            if self.headers is None:
                self.headers = []
            self.headers.append((name, value))
