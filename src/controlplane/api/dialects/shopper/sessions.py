"""gpuplane.dialects.shopper.v1.Sessions: machines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gpuplane.dialects.shopper.v1 import sessions_pb2 as pb
from gpuplane.v1 import instance_pb2

from controlplane.api.call import Call
from controlplane.api.dialects.shared import request_key, rfc3339
from controlplane.api.dialects.shopper.errors import StaleInventory
from controlplane.api.dialects.shopper.listing import PROVIDERS
from controlplane.api.dialects.shopper.readiness import check_takes_work
from controlplane.api.dialects.shopper.sessions_refusals import InvalidRequest, ProvisionFailed
from controlplane.api.dialects.shopper.sessions_view import (
    ANNOUNCED,
    diagnostics_shown,
    is_session,
    session_shown,
    show_retries,
    state_shown,
    states_of,
)
from controlplane.api.dialects.shopper.sessions_wish import MAX_HOURS, SOLE, wish_of
from controlplane.api.dialects.shopper.translate import CONSUMER, HOUR_S, RUNNING, STATES, whole
from controlplane.api.plane import Plane
from controlplane.domain.billing import SECOND
from controlplane.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    OutOfRange,
    PlaneError,
    ResourceExhausted,
    Unavailable,
    invalid,
    not_found,
)
from controlplane.domain.instance import BUDGET_EXHAUSTED, Instance
from controlplane.domain.operation import Operation, Outcome
from controlplane.domain.state import TERMINAL, State
from controlplane.ports.key_pairs import KeyPair
from controlplane.ports.store import InstanceQuery
from controlplane.usecases import instance_keys, instances, sessions
from controlplane.usecases.idempotency import SECRET_REPLAY_S, FirstAnswers, RequestIdRule, RequestKey
from controlplane.usecases.machine_secrets import model_key
from controlplane.usecases.turns import Turns
from controlplane.usecases.wishes import CreateInstance
from controlplane.wire.common import micros
from controlplane.wire.instance import instance_message

IDEMPOTENCY = RequestIdRule(field="Idempotency-Key", window_s=SECRET_REPLAY_S)

VERDICT_S = 10.0
"""How long the answer to a creation waits for the marketplace."""

MOST, PAGE = 10_000, 500  # sessions in one answer, and read at a time
_CONFLICTING = frozenset({State.ACCEPTED, State.ALLOCATING, State.STARTING, State.RUNNING})
_ENDED = TERMINAL | {State.STOPPED}
_SECRET = "session"  # what the private key is sealed for


class Sessions:
    """Rents, shows, extends and ends sessions."""

    service = "gpuplane.dialects.shopper.v1.Sessions"

    def __init__(self, plane: Plane, answers: FirstAnswers) -> None:
        self._core = plane.core
        self._hub = plane.hub
        self._vitals = plane.vitals
        self._answers = answers
        self._turns = Turns()

    async def create_session(self, request: pb.CreateSessionRequest, call: Call) -> bytes:
        check_takes_work(self._vitals)
        key = request_key(request, call, IDEMPOTENCY)

        async def make() -> bytes:
            wish = wish_of(self._core, call.principal.account_id, request)
            made, pair = await self._accept(call, wish, key)
            if key.id:  # another process may have been faster with the same request, and its key is the machine's
                return await again(made.id)
            return await self._created(call, made.id, request, pair.private_pem)

        async def again(operation_id: str) -> bytes:
            sealed = await sessions.sealed_secret(self._core, call.principal, key)
            pem = self._core.secrets.open(_SECRET, key.key(call.principal.account_id), sealed)
            return await self._created(call, operation_id, request, pem.decode())

        answer = await self._answers.once(call.principal, key, make, again)
        call.set_http_status(201)
        return answer

    async def _accept(self, call: Call, wish: CreateInstance, key: RequestKey) -> tuple[Operation, KeyPair]:
        """Record the wish with a new key; of several at once for the same consumer and offer the first one's."""
        core, caller = self._core, call.principal
        async with self._turns.of((caller.account_id, *(wish.labels[name] for name in SOLE))):
            await self._check_conflict(call, wish)  # before a key is spent on it
            pair = await core.key_pairs.take()
            sealed = self._sealed(key, caller.account_id, pair)
            wish = replace(wish, ssh_public_keys=(pair.public_line,))
            try:
                return await instances.create(core, caller, wish, key, sealed), pair
            except Unavailable:
                raise  # it may have been accepted all the same
            except PlaneError as error:
                core.key_pairs.give_back(pair)
                if isinstance(error, AlreadyExists):  # another process was faster
                    await self._check_conflict(call, wish)
                raise

    def _sealed(self, key: RequestKey, account_id: str, pair: KeyPair) -> str:
        """What a repeat of a named request needs, should the first answer be lost."""
        return self._core.secrets.seal(_SECRET, key.key(account_id), pair.private_pem.encode()) if key.id else ""

    async def _check_conflict(self, call: Call, wish: CreateInstance) -> None:
        """Refuse a second active session of the consumer on the offer."""
        sole = tuple((name, wish.labels[name]) for name in SOLE)
        query = InstanceQuery(states=_CONFLICTING, labels=sole, live_only=True)
        for id, body in await self._core.store.messages(call.principal.scope, query, "", PAGE):
            row = await self._core.store.get(call.principal.scope, Instance, id)
            if row is not None and row.ending:  # it is in the way no more
                continue
            other = session_shown(instance_pb2.Instance.FromString(body))
            raise AlreadyExists(
                f"consumer {other.consumer_id} has session {other.id} ({other.status}) on offer {other.offer_id}",
                resource="session", field="offer_id", value=other.offer_id, id=other.id,
            )  # fmt: skip

    async def _created(self, call: Call, operation_id: str, request: pb.CreateSessionRequest, pem: str) -> bytes:
        """The answer to a creation, once the marketplace has decided or time has run out."""
        given = await sessions.given(self._core, self._hub, call.principal, operation_id, ANNOUNCED, VERDICT_S)
        if given.instance is None:
            raise self._refusal(given.operation, request)
        row = given.instance
        answer = self._with_secrets(row, pem)
        if request.auto_retry and row.attempt > 1:
            answer.retries_attempted = row.attempt - 1
        body: bytes = answer.SerializeToString()
        return body

    def _with_secrets(self, row: Instance, pem: str) -> Any:
        answer: Any = pb.CreatedSession(session=session_shown(instance_message(row)), ssh_private_key=pem)
        if row.wish.model:
            answer.api_key = model_key(self._core.secrets, row.id)
        return answer

    def _refusal(self, operation: Operation, request: pb.CreateSessionRequest) -> PlaneError:
        """Why there is no session, as far as the marketplace decided it."""
        failure = operation.failure
        assert failure is not None, f"operation {operation.id} ended without a machine and without a reason"
        if failure.reason == "NO_CAPACITY":
            return StaleInventory(request.offer_id, request.offer_id.partition("-")[0])  # ids begin with it
        if failure.reason == BUDGET_EXHAUSTED:
            return ResourceExhausted(failure.message)
        if operation.attempts and operation.attempts[-1].outcome is Outcome.REJECTED:
            return InvalidRequest(failure.message)
        return ProvisionFailed(failure.message)

    async def list_sessions(self, request: pb.ListSessionsRequest, call: Call) -> pb.SessionList:
        limit = min(MOST, whole(request.limit, "limit", 1, "must be positive") or MOST)
        consumer = request.consumer_id or None
        query = InstanceQuery(
            states=states_of(request.status) if request.status else frozenset(), labels=((CONSUMER, consumer),)
        )
        nothing = request.status and not query.states
        found = [] if nothing else await self._page(call, query, self._provider(request.provider), limit)
        return pb.SessionList(sessions=found, count=len(found))

    def _provider(self, name: str) -> str:
        known = sorted({*PROVIDERS, *self._core.providers, *self._core.credentials.marketplaces})
        if name and name not in known:
            raise invalid("provider", f"must be one of {', '.join(known)}", name)
        return name

    async def _page(self, call: Call, query: InstanceQuery, provider: str, wanted: int) -> list[pb.Session]:
        """The newest sessions, as many as are wanted or there are. The provider is that of the session, which knows it
        before its first attempt."""
        found: list[pb.Session] = []
        before = ""
        while True:
            rows = await self._core.store.messages(call.principal.scope, query, before, PAGE)
            messages = (instance_pb2.Instance.FromString(body) for _, body in rows)
            shown = [await self._shown(call, message) for message in messages if is_session(message)]
            found += (session for session in shown if provider in ("", session.provider))
            if len(rows) < PAGE or len(found) >= wanted:
                return found[:wanted]
            before = rows[-1][0]

    async def get_session(self, request: pb.GetSessionRequest, call: Call) -> pb.Session:
        return await self._shown(call, await self._message(call, request.id))

    async def _shown(self, call: Call, message: instance_pb2.Instance) -> pb.Session:
        """A session, and where other offers may take the first one's place, what came of that."""
        session = session_shown(message)
        if session.auto_retry:
            create = await self._core.store.get(call.principal.scope, Operation, message.create_operation_id)
            if create is not None:  # else it is so old that its operation was removed
                show_retries(session, create)
        return session

    async def finish_session(self, request: pb.FinishSessionRequest, call: Call) -> pb.SessionNotice:
        message = await self._message(call, request.id)
        if state_shown(message) in _ENDED:
            raise _conflict(message, "has ended already")
        await instances.finish(self._core, call.principal, request.id)
        return pb.SessionNotice(message="session shutdown initiated", session_id=request.id)

    async def destroy_session(self, request: pb.DestroySessionRequest, call: Call) -> pb.SessionNotice:
        message = await self._message(call, request.id)
        if state_shown(message) not in TERMINAL:
            key = RequestKey(call.method.label)  # it is idempotent without being named
            await instances.terminate(self._core, call.principal, request.id, force=True, request=key)
        return pb.SessionNotice(message="session destroyed", session_id=request.id)

    async def extend_session(self, request: pb.ExtendSessionRequest, call: Call) -> bytes:
        key = request_key(request, call, IDEMPOTENCY)

        async def make() -> bytes:
            message = await self._message(call, request.id)
            hours = request.additional_hours
            if not hours:
                raise InvalidArgument("additional_hours is required", field="additional_hours", rule="is required")
            if not 1 <= hours <= MAX_HOURS:
                raise invalid("additional_hours", f"must be from 1 to {MAX_HOURS}", hours)
            row = await self._extend(call, message, hours, key)
            assert row.expire_at is not None, "sessions have a reservation"
            answer: Any = pb.ExtendedSession(
                message="session extended", session_id=row.id, new_expires_at=rfc3339(row.expire_at)
            )
            body: bytes = answer.SerializeToString()
            return body

        return await self._answers.once(call.principal, key, make)

    async def _extend(self, call: Call, message: instance_pb2.Instance, hours: int, key: RequestKey) -> Instance:
        try:
            return await instances.extend(self._core, call.principal, message.id, hours * HOUR_S, key)
        except OutOfRange:
            most_s = (micros(message.hard_expire_time) - micros(message.create_time)) // SECOND
            reserved = session_shown(message).reservation_hours
            raise invalid(
                "additional_hours",
                f"must keep the session within {most_s / HOUR_S:g} hours in all, of which {reserved} are reserved",
                hours,
            ) from None
        except FailedPrecondition:
            raise _conflict(await self._message(call, message.id), "cannot be extended") from None

    async def diagnose_session(self, request: pb.DiagnoseSessionRequest, call: Call) -> pb.SessionDiagnostics:
        message = await self._message(call, request.id)
        status = STATES[state_shown(message)]
        if status != RUNNING:
            rule = "must be running"
            raise InvalidArgument(f"session {message.id} is {status}; it {rule}", field="id", rule=rule, value=status)
        return diagnostics_shown(message, self._core.clock.now())

    async def rekey_session(self, request: pb.RekeySessionRequest, call: Call) -> bytes:
        core, caller, key = self._core, call.principal, request_key(request, call, IDEMPOTENCY)

        async def make() -> bytes:
            await self._message(call, request.id)
            return await answer(await instance_keys.rekey(core, caller, request.id, key))

        async def again(id: str) -> bytes:
            return await answer(await instance_keys.rekey_again(core, caller, id, key))

        async def answer(pair: KeyPair) -> bytes:
            row = await instances.instance_of(core, caller, request.id)
            body: bytes = self._with_secrets(row, pair.private_pem).SerializeToString()
            return body

        return await self._answers.once(caller, key, make, again)

    async def _message(self, call: Call, id: str) -> instance_pb2.Instance:
        body = await self._core.store.message(call.principal.scope, Instance, id)
        message = instance_pb2.Instance.FromString(body or b"")
        if body is None or not is_session(message):
            raise not_found("session", id)
        return message


def _conflict(message: instance_pb2.Instance, why: str) -> FailedPrecondition:
    status = STATES[state_shown(message)]
    return FailedPrecondition(
        f"session {message.id} is {status} and {why}", resource="session", id=message.id, state=status
    )
