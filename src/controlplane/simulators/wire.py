"""HTTP as a marketplace model sees it: a request in, a response or a cut connection out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are lower-case; a query parameter may come several times."""

    method: str
    path: str
    query: Mapping[str, list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body's value; an empty body is an empty object. Raises ValueError when it is no JSON."""
        return json.loads(self.body) if self.body.strip() else {}

    def first(self, name: str, default: str = "") -> str:
        """A query parameter's first value."""
        values = self.query.get(name)
        return values[0] if values else default


@dataclass(frozen=True, slots=True)
class Response:
    """One whole answer. Content-Length and Date are the server's business."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The body's value, for tests and for what distorts answers."""
        return json.loads(self.body)


class CutPoint(StrEnum):
    """How much of the answer left before the connection was shut."""

    BEFORE = "before"  # not a byte
    MID_BODY = "mid_body"  # the head and half of the body


@dataclass(frozen=True, slots=True)
class Cut:
    """The work was done and the connection then shut. `response` is what the client should have read."""

    point: CutPoint
    response: Response


Outcome = Response | Cut


def json_response(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer. The content type has no charset: Vast's own client refuses answers that name one."""
    return Response(status, json.dumps(value).encode(), {"content-type": "application/json", **(headers or {})})


def html(status: int, title: str) -> Response:
    """What a gateway in front of a marketplace answers in its place."""
    page = f"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>\r\n"
    return Response(status, page.encode(), {"content-type": "text/html"})


def text(status: int, words: str, headers: Mapping[str, str] | None = None) -> Response:
    """A plain-text answer."""
    return Response(status, words.encode(), {"content-type": "text/plain; charset=utf-8", **(headers or {})})
