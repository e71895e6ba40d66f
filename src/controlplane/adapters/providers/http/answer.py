"""One complete HTTP answer, as adapters see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controlplane.adapters.providers.http.errors import NotUnderstood, Refused


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body of an answer, whatever its status.

    `value` is the parsed JSON (decimals as Decimal) and means something only where `is_json`. `reason` is what the
    answer says of an error, in one short line without markup or secrets; empty when it says nothing. `sent_at` is when
    the request left (microseconds, our clock); `retry_after_s` is how long the provider asks us to stay away.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    value: Any = field(repr=False)
    is_json: bool
    reason: str
    sent_at: int
    retry_after_s: float | None = None

    @property
    def ok(self) -> bool:
        """A 2xx status; the body may still say otherwise."""
        return 200 <= self.status < 300

    def says(self, *words: str) -> bool:
        """Whether the body's beginning holds any of these words, in whatever case and wherever it puts errors."""
        text = self.body[:8192].decode("utf-8", "replace").lower()
        return any(word in text for word in words)

    def object(self) -> dict[str, Any]:
        """The JSON object that a success must be. Raises Refused for an error status, else NotUnderstood."""
        if not self.ok:
            words = f"status {self.status}" + (f": {self.reason}" if self.reason else "")
            raise Refused(words, self.status, retry_after_s=self.retry_after_s)
        if not self.is_json or not isinstance(self.value, dict):
            raise NotUnderstood(f"status {self.status} with {self.kind} where a JSON object belongs")
        return self.value

    @property
    def kind(self) -> str:
        """What the body is, for operators."""
        if self.is_json:
            return f"a JSON {type(self.value).__name__}"
        if not self.body.strip():
            return "an empty body"
        return "HTML" if self.body.lstrip()[:1] == b"<" else "a body that is no JSON or was cut"
