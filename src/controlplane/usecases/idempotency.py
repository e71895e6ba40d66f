"""Request ids: replay or record, inside the caller's own unit of work (AIP-155), and first answers word for word."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from controlplane.domain.account import IdempotencyRecord, idempotency_id
from controlplane.domain.billing import SECOND
from controlplane.domain.errors import Aborted, invalid
from controlplane.domain.principal import Principal
from controlplane.ports.store import Get, Load, Transaction, UnitOfWork
from controlplane.usecases.core import Core

SECRET_REPLAY_S = 600

_VISIBLE = re.compile(r"[\x21-\x7e]*")


@dataclass(frozen=True, slots=True)
class RequestIdRule:
    """What an API says of its request ids. `window_s`: after it the same id names a new request; None: as long as
    records are kept."""

    field: str = "request_id"
    longest: int = 128
    form: re.Pattern[str] = _VISIBLE
    form_said: str = "visible ASCII characters"
    window_s: int | None = None


AIP_155 = RequestIdRule()


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What a caller named its request, and what tells a repeat from a different one. `id` empty: not named."""

    method: str
    id: str = ""
    fingerprint: str = ""
    rule: RequestIdRule = AIP_155

    def check(self) -> None:
        """Raise InvalidArgument for an id that cannot be one."""
        if len(self.id) > self.rule.longest or not self.rule.form.fullmatch(self.id):
            raise invalid(self.rule.field, f"must be 1 to {self.rule.longest} {self.rule.form_said}", self.id)

    def loads(self, account_id: str) -> list[Load]:
        """What `replay` needs loaded."""
        return [Get(IdempotencyRecord, self.key(account_id))] if self.id else []

    def replay(self, tx: Transaction, account_id: str) -> str:
        """The id of the first request's result; empty when this is the first. Raises Aborted on another body."""
        if not self.id:
            return ""
        record = tx.get(IdempotencyRecord, self.key(account_id))
        if record is None or self.forgotten(record, tx.now):
            return ""
        record.check(self.fingerprint, self.id)
        return record.result_id

    def forgotten(self, record: IdempotencyRecord, now: int) -> bool:
        """Whether the record is older than the API's window."""
        return self.rule.window_s is not None and now - record.created_at > self.rule.window_s * SECOND

    def record(self, tx: Transaction, account_id: str, result_id: str, sealed: str = "") -> None:
        """Remember the result in the same commit."""
        if self.id:
            tx.put(IdempotencyRecord(self.key(account_id), account_id, self.fingerprint, result_id, tx.now, sealed))

    def sealed(self, tx: Transaction, account_id: str) -> str:
        """The secret that the first request made, encrypted. Raises Aborted once it may no longer be repeated."""
        record = tx.get(IdempotencyRecord, self.key(account_id))
        if record is None or not record.sealed or tx.now - record.created_at > SECRET_REPLAY_S * SECOND:
            raise Aborted(
                f"request_id {self.id!r} was used before, and its secret can no longer be shown",
                reason="SECRET_NO_LONGER_SHOWN", request_id=self.id,
            )  # fmt: skip
        return record.sealed

    def key(self, account_id: str) -> str:
        """Id of the record."""
        return idempotency_id(account_id, self.method, self.id)


@dataclass(frozen=True, slots=True)
class FirstAnswers:
    """Repeats the first answer to a named request byte for byte, for dialects that promise it.

    The use-case's own record decides what is done once; this keeps what was said. A kill between the two leaves a
    record without an answer: the repeat is then answered as the resource is now, by `again`, which is given the
    result's id and checks nothing; without one `make` is run, for requests that only the record can refuse.
    """

    core: Core
    _running: set[str] = field(default_factory=set)

    async def once(
        self, caller: Principal, request: RequestKey, make: Callable[[], Awaitable[bytes]],
        again: Callable[[str], Awaitable[bytes]] | None = None,
    ) -> bytes:  # fmt: skip
        """The first answer, or `make`'s. Raises Aborted while the same request is under way in this process, and when
        the id was used for another request."""
        if not request.id:
            return await make()
        request.check()
        key = request.key(caller.account_id)
        if key in self._running:
            raise Aborted(
                f"a request with the {request.rule.field} {request.id!r} is still in progress",
                reason="IDEMPOTENCY_IN_PROGRESS", retry_after_s=1.0, request_id=request.id,
            )  # fmt: skip
        self._running.add(key)
        try:
            record = await self.core.store.get(caller.scope, IdempotencyRecord, key)
            if record is None or request.forgotten(record, self.core.clock.now()):
                return await self._keep(caller, key, await make())
            record.check(request.fingerprint, request.id)
            if record.answer and (kept := self._opened(key, record.answer)) is not None:
                return kept
            return await self._keep(caller, key, await (again(record.result_id) if again else make()))
        finally:
            self._running.discard(key)

    def _opened(self, key: str, sealed: str) -> bytes | None:
        try:
            return self.core.secrets.open("answer", key, sealed)
        except ValueError:  # sealed under a master key that was lost
            return None

    async def _keep(self, caller: Principal, key: str, answer: bytes) -> bytes:
        """The answer, or the one that another process kept meanwhile."""
        sealed = self.core.secrets.seal("answer", key, answer)

        def decide(tx: Transaction) -> str:
            record = tx.get(IdempotencyRecord, key)
            if record is None:
                return sealed
            if not record.answer:
                tx.put(replace(record, answer=sealed))
            return record.answer or sealed

        kept = await self.core.store.run(UnitOfWork(caller.scope, [Get(IdempotencyRecord, key)], decide))
        return self._opened(key, kept) or answer
