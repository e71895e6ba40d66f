"""Operations: the durable record of slow work, its steps and its attempts on offers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controlplane.domain.records import replace


class OperationKind(StrEnum):
    """A kind of slow work."""

    CREATE_INSTANCE = "CREATE_INSTANCE"
    TERMINATE_INSTANCE = "TERMINATE_INSTANCE"


class OperationState(StrEnum):
    """How far the work is."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


DONE = frozenset({OperationState.SUCCEEDED, OperationState.FAILED, OperationState.CANCELLED})


class Outcome(StrEnum):
    """What became of an attempt; UNSPECIFIED while the provider is being asked."""

    UNSPECIFIED = "UNSPECIFIED"
    CREATED = "CREATED"
    STOCKOUT = "STOCKOUT"
    REJECTED = "REJECTED"
    TOO_DEAR = "TOO_DEAR"
    AUTH_FAILED = "AUTH_FAILED"
    NO_FUNDS = "NO_FUNDS"
    RATE_LIMITED = "RATE_LIMITED"
    AMBIGUOUS = "AMBIGUOUS"
    NOT_CREATED = "NOT_CREATED"
    UNUSABLE = "UNUSABLE"
    NOT_READY = "NOT_READY"


OPEN = frozenset({Outcome.UNSPECIFIED, Outcome.AMBIGUOUS})
"""A machine may exist at the provider under the attempt's label."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to buy one offer."""

    number: int
    offer_id: str
    provider: str
    price_nano_per_hour: int
    currency: str
    started_at: int
    outcome: Outcome = Outcome.UNSPECIFIED
    message: str = ""
    ended_at: int | None = None
    sent_at: int | None = None  # when the request left, where its answer said nothing of what came of it
    retry_of: int = 0  # the attempt whose machine did not become usable, and which this one replaces


@dataclass(frozen=True, slots=True)
class SkippedOffers:
    """Offers that were not tried, and why."""

    reason: str
    count: int
    offer_id: str  # one of them


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of the work."""

    name: str
    started_at: int
    ended_at: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an operation did not succeed; `code` is a google.rpc.Code number."""

    code: int
    reason: str
    message: str


@dataclass(frozen=True)  # without slots, for the sake of domain.records.replace
class Operation:
    """The durable record of slow work on one instance."""

    id: str
    account_id: str
    instance_id: str
    kind: OperationKind
    state: OperationState
    created_at: int
    updated_at: int
    request_id: str = ""
    done_at: int | None = None
    failure: Failure | None = None
    steps: tuple[Step, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    skipped: tuple[SkippedOffers, ...] = ()  # as of the last choice
    cancel_requested: bool = False
    revision: int = 0

    @property
    def done(self) -> bool:
        """In a final state."""
        return self.state in DONE

    def enter(self, step: str, now: int) -> Operation:
        """With the present step ended and the named one begun; unchanged if it is the present one."""
        if self.done or (self.steps and self.steps[-1].name == step and self.steps[-1].ended_at is None):
            return self
        return replace(
            self,
            state=OperationState.RUNNING,
            updated_at=now,
            steps=(*self._ended_steps(now), Step(step, now)),
        )

    def finish(self, state: OperationState, now: int, failure: Failure | None = None) -> Operation:
        """In a final state; a done operation stays as it is."""
        if self.done:
            return self
        return replace(self, state=state, updated_at=now, done_at=now, failure=failure, steps=self._ended_steps(now))

    def attempting(self, attempt: Attempt, now: int) -> Operation:
        """With one more attempt."""
        return replace(self, attempts=(*self.attempts, attempt), updated_at=now)

    def outcome(self, number: int, outcome: Outcome, message: str, now: int, sent_at: int | None = None) -> Operation:
        """With the outcome of one attempt recorded."""
        return replace(
            self,
            updated_at=now,
            attempts=tuple(
                replace(
                    a,
                    outcome=outcome,
                    message=message,
                    ended_at=None if outcome in OPEN else now,
                    sent_at=a.sent_at if sent_at is None else sent_at,
                )
                if a.number == number
                else a
                for a in self.attempts
            ),
        )

    def _ended_steps(self, now: int) -> tuple[Step, ...]:
        return tuple(s if s.ended_at is not None else replace(s, ended_at=now) for s in self.steps)
