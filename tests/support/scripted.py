"""A marketplace of a few canned answers, in process: for what adapters make of each answer, and what they send."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2

Reply = httpx2.Response | Exception | Callable[[httpx2.Request], httpx2.Response]


def reply(value: Any, status: int = 200, **headers: str) -> httpx2.Response:
    """JSON, or text as it is."""
    content = value if isinstance(value, str) else json.dumps(value)
    return httpx2.Response(status, content=content.encode(), headers=headers)


class Scripted(httpx2.AsyncBaseTransport):
    """Answers by method and path. Of several replies to one question, the last repeats; an unscripted question is the
    test's failure. `journal` holds what was asked."""

    def __init__(self, replies: dict[str, Reply | list[Reply]]) -> None:
        self._replies = {key: value if isinstance(value, list) else [value] for key, value in replies.items()}
        self.journal: list[httpx2.Request] = []

    def now_answers(self, question: str, *replies: Reply) -> None:
        """From now on."""
        self._replies[question] = list(replies)

    def asked(self, question: str) -> list[httpx2.Request]:
        """The requests of one method and path."""
        return [request for request in self.journal if _question(request) == question]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.journal.append(request)
        line = self._replies[_question(request)]
        next_reply = line.pop(0) if len(line) > 1 else line[0]
        if isinstance(next_reply, Exception):
            raise next_reply
        return next_reply(request) if callable(next_reply) else _copy(next_reply)


def _question(request: httpx2.Request) -> str:
    return f"{request.method} {request.url.path}"


def _copy(canned: httpx2.Response) -> httpx2.Response:
    return httpx2.Response(canned.status_code, headers=canned.headers, content=canned.content)
