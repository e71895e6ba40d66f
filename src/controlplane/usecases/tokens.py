"""Opaque tokens: where a page ended, where a stream may resume. Signed, and bound to what they were made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from functools import lru_cache

from controlplane.domain.errors import InvalidArgument, OutOfRange
from controlplane.ports.secrets import Secrets

_TAG = 12


class Tokens:
    """Makes and reads tokens."""

    def __init__(self, secrets: Secrets, epoch: str) -> None:
        self._secrets = secrets
        self._epoch = epoch
        # Those who look at the same page every few seconds get the same tokens.
        self._seal = lru_cache(1024)(self._sealed)

    def page(self, query: object, *position: str) -> str:
        """A page token for that query (anything with a stable repr, the account included)."""
        return self._seal("page", _digest(repr(query)), *position)

    def read_page(self, token: str, query: object) -> list[str]:
        """The position in a page token; raises InvalidArgument when it was made for another query."""
        found = self._open("page", token)
        if found is None or found[0] != _digest(repr(query)):
            raise InvalidArgument(
                "page_token is malformed or belongs to another query",
                reason="INVALID_PAGE_TOKEN",
                field="page_token",
            )
        return [str(part) for part in found[1:]]

    def resume(self, account_id: str, seq: int) -> str:
        """A resume token: everything up to `seq` was delivered."""
        return self._seal("resume", self._epoch, account_id, seq)

    def read_resume(self, token: str, account_id: str) -> int:
        """The sequence in a resume token. OutOfRange when the event log it belongs to is no more."""
        found = self._open("resume", token)
        if found is None or found[1] != account_id:
            raise InvalidArgument(
                "resume_token is malformed or belongs to another account",
                reason="INVALID_RESUME_TOKEN", field="resume_token",
            )  # fmt: skip
        if found[0] != self._epoch:
            raise OutOfRange("resume_token belongs to an earlier event log; list again", oldest="", got=found[2])
        return int(str(found[2]))

    def _sealed(self, purpose: str, *parts: str | int) -> str:
        payload = json.dumps(parts, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._secrets.sign(purpose, payload) + payload).decode().rstrip("=")

    def _open(self, purpose: str, token: str) -> list[object] | None:
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        tag, payload = raw[:_TAG], raw[_TAG:]
        if not payload or not hmac.compare_digest(self._secrets.sign(purpose, payload), tag):
            return None
        parts: list[object] = json.loads(payload)
        return parts


@lru_cache(1024)
def _digest(query: str) -> str:
    return hashlib.sha256(query.encode()).hexdigest()[:16]
