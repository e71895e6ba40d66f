"""Request ids: replay or record, inside the caller's own unit of work (AIP-155)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from controlplane.domain.account import IdempotencyRecord, idempotency_id
from controlplane.domain.billing import SECOND
from controlplane.domain.errors import Aborted, invalid
from controlplane.ports.store import Get, Load, Transaction

SECRET_REPLAY_S = 600

_VISIBLE = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What a caller named its request, and what tells a repeat from a different one. `id` empty: not named."""

    method: str
    id: str = ""
    fingerprint: str = ""

    def check(self) -> None:
        """Raise InvalidArgument for an id that cannot be one."""
        if self.id and not _VISIBLE.fullmatch(self.id):
            raise invalid("request_id", "must be 1 to 128 visible ASCII characters", self.id)

    def loads(self, account_id: str) -> list[Load]:
        """What `replay` needs loaded."""
        return [Get(IdempotencyRecord, self._key(account_id))] if self.id else []

    def replay(self, tx: Transaction, account_id: str) -> str:
        """The id of the first request's result; empty when this is the first. Raises Aborted on another body."""
        if not self.id:
            return ""
        record = tx.get(IdempotencyRecord, self._key(account_id))
        if record is None:
            return ""
        record.check(self.fingerprint, self.id)
        return record.result_id

    def record(self, tx: Transaction, account_id: str, result_id: str, sealed: str = "") -> None:
        """Remember the result in the same commit."""
        if self.id:
            tx.put(IdempotencyRecord(self._key(account_id), account_id, self.fingerprint, result_id, tx.now, sealed))

    def sealed(self, tx: Transaction, account_id: str) -> str:
        """The secret that the first request made, encrypted. Raises Aborted once it may no longer be repeated."""
        record = tx.get(IdempotencyRecord, self._key(account_id))
        if record is None or not record.sealed or tx.now - record.created_at > SECRET_REPLAY_S * SECOND:
            raise Aborted(
                f"request_id {self.id!r} was used before, and its secret can no longer be shown",
                reason="SECRET_NO_LONGER_SHOWN", request_id=self.id,
            )  # fmt: skip
        return record.sealed

    def _key(self, account_id: str) -> str:
        return idempotency_id(account_id, self.method, self.id)
