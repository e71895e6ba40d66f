"""Keeping credentials out of everything that is logged or shown."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PARAMETER = re.compile(
    r"(?i)\b((?:api|instance_api)[_-]?(?:key|token)|authorization|token|bearer)"
    r"(\W{1,4}(?:(?:bearer|basic)\s+)?)([^\s&\"',]{4,})"
)
_MARKUP = re.compile(r"<[^>]{0,500}>")

_SHOWN = 240


class Redactor:
    """Makes a provider's words fit for a log line. `secrets` are replaced wherever they stand."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = (secret.strip() for secret in secrets)
        self._secrets = tuple(sorted((secret for secret in known if len(secret) >= 4), key=len, reverse=True))

    def line(self, text: str) -> str:
        """One short line without secrets, credentials in URLs, markup or control characters."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = _PARAMETER.sub(r"\1\2***", text[: 4 * _SHOWN])
        text = _MARKUP.sub(" ", text)
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
