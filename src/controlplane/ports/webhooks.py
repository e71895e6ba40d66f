"""The ports to receivers of webhooks, and to addresses that users give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class UrlGuard(Protocol):
    """Decides which URLs of users this deployment calls."""

    async def refusal(self, url: str) -> str:
        """Why it never calls this URL, as a rule for the caller ("must be https"); empty: nothing speaks against it.

        A name that does not resolve at the moment is no refusal: every call checks the address that it dials.
        """
        ...


class NoUrls:
    """Calls nobody."""

    async def refusal(self, url: str) -> str:
        """See `UrlGuard.refusal`."""
        return "cannot be called: this deployment makes no outgoing calls"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said: its status; or 0 and one sentence for people why there is none."""

    status: int
    error: str = ""


class WebhookSender(Protocol):
    """Posts to receivers; never raises but for `CancelledError`."""

    async def send(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        """Post once, within a bounded time. Redirects are not followed, and of the answer only its status counts."""
        ...
