"""The port to the store: units of work, scoped reads, and the event log.

A unit of work is a value: the rows to lock and load, and a synchronous decision over them. One writer per process
commits many of them together; each sees the ones before it. The rules every store keeps:

* A decision that raises changes nothing, and harms no neighbour in its batch.
* What `run` returned is durable. A caller that was cancelled may or may not have been committed; nothing is half-done.
* A put Instance, Operation or Budget whose canonical message differs from the stored one gets the next revision, and
  an event is appended in the same commit. There is no other way to change a row, so no change goes unseen.
* Reads take a scope. Rows of other accounts do not exist for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from controlplane.domain.account import Account, ApiKey, IdempotencyRecord, SshKey
from controlplane.domain.budget import Budget
from controlplane.domain.credential import ProviderCredential
from controlplane.domain.events import Event
from controlplane.domain.failures import FailureRecord
from controlplane.domain.instance import Instance
from controlplane.domain.ledger import LedgerEntry, LedgerKind
from controlplane.domain.operation import Operation, OperationState
from controlplane.domain.principal import Scope
from controlplane.domain.replica import ReplicaRecord
from controlplane.domain.state import State
from controlplane.domain.stray import StrayMachine
from controlplane.domain.webhook import Delivery, Lane, WebhookCursor, WebhookEndpoint
from controlplane.domain.work import WorkItem
from controlplane.ports.ids import Ids

Record = (
    Account
    | ApiKey
    | SshKey
    | IdempotencyRecord
    | Instance
    | Operation
    | Budget
    | LedgerEntry
    | WorkItem
    | ReplicaRecord
    | WebhookEndpoint
    | Lane
    | Delivery
    | WebhookCursor
    | FailureRecord
    | StrayMachine
    | ProviderCredential
)
R = TypeVar(
    "R", Account, ApiKey, SshKey, IdempotencyRecord, Instance, Operation, Budget, LedgerEntry, WorkItem, ReplicaRecord,
    WebhookEndpoint, Lane, Delivery, WebhookCursor, FailureRecord, StrayMachine, ProviderCredential,
)  # fmt: skip
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Get:
    """Load (and lock) one row by primary key."""

    table: type[Any]
    id: str


@dataclass(frozen=True, slots=True)
class Where:
    """Load all rows with an indexed column equal to a value; only where they are few (bounded by a quota)."""

    table: type[Any]
    column: str
    value: object


@dataclass(frozen=True, slots=True)
class LiveInstances:
    """Load all instances of an account that have not ended."""

    account_id: str


@dataclass(frozen=True, slots=True)
class CountLive:
    """Count an account's instances that have not ended."""

    account_id: str


@dataclass(frozen=True, slots=True)
class Due:
    """Load work items that are due and unheld by the store's clock, oldest first, and with them, without a lock, their
    instances and the operations that created those.

    `limits` maps a provider to how many more of its items may be claimed; items of other providers are free.
    `host_id` leaves out items that belong to another host.
    """

    limit: int
    host_id: str = ""
    limits: tuple[tuple[str, int], ...] = ()


Load = Get | Where | LiveInstances | CountLive | Due


class Transaction(Protocol):
    """What a decision sees. Only what was asked for in `loads` (or put before) may be read."""

    now: int  # the store's clock: the same for all replicas
    ids: Ids

    def get(self, table: type[R], id: str) -> R | None:
        """A row, or None when it does not exist in the scope."""
        ...

    def where(self, table: type[R], column: str, value: object) -> list[R]:
        """Rows with that column equal to the value, by id."""
        ...

    def live_instances(self, account_id: str) -> list[Instance]:
        """The account's instances that have not ended."""
        ...

    def count_live(self, account_id: str) -> int:
        """How many they are."""
        ...

    def due(self) -> list[WorkItem]:
        """The items that the unit's `Due` found."""
        ...

    def put(self, record: Record) -> None:
        """Insert or replace a row."""
        ...

    def delete(self, table: type[Any], id: str) -> None:
        """Remove a row; fine if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class UnitOfWork(Generic[T]):
    """Rows to load, and the decision over them. `decide` must not block, await or read a clock."""

    scope: Scope
    loads: Sequence[Load]
    decide: Callable[[Transaction], T]


@dataclass(frozen=True, slots=True)
class InstanceQuery:
    """Which instances to list, newest first."""

    states: frozenset[State] = frozenset()
    provider: str = ""
    labels: tuple[tuple[str, str | None], ...] = ()  # (key, value); None: the key exists
    live_only: bool = False

    @property
    def bounded(self) -> bool:
        """Whether a page costs what it holds; with a filter, what was searched for it."""
        return not (self.states or self.provider or self.labels or self.live_only)


@dataclass(frozen=True, slots=True)
class OperationQuery:
    """Which operations to list, newest first."""

    instance_id: str = ""
    state: OperationState | None = None

    @property
    def bounded(self) -> bool:
        """Whether a page costs what it holds; with a filter, what was searched for it."""
        return not (self.instance_id or self.state)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """A sum over one ledger. `bucket` is hour, day, week or month; `group` a column of LedgerEntry or empty; `label`
    leaves only instances that carry it, as (key, value) with None for any value."""

    kind: LedgerKind
    start_at: int
    end_at: int
    bucket: str = ""
    group: str = ""
    instance_id: str = ""
    label: tuple[str, str | None] | None = None


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One sum: microseconds of machine and of GPU time (of charges without that of kept disks), and nano-units."""

    bucket_at: int
    group: str
    machine_us: int
    gpu_us: int
    amount_nano: int
    instances: int


@dataclass(frozen=True, slots=True)
class LogWindow:
    """What the event log holds now: events with `oldest <= seq <= newest`; 0, 0 when it is empty."""

    oldest: int = 0
    newest: int = 0


@dataclass(frozen=True, slots=True)
class LiveCount:
    """How many instances of a provider are in a state, and since when the first of them should have ended (0: none
    should)."""

    provider: str
    state: State
    count: int
    ending_since: int


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What identifies a store. `epoch` changes whenever its event numbers could repeat (restore, replacement)."""

    deployment_id: str
    epoch: str
    extra: dict[str, str] = field(default_factory=dict)


class WebhookRows(Protocol):
    """What the webhook loops read, and how it is cleared away. Each answer is bounded and comes from an index."""

    async def events(self, after_seq: int, up_to: int, limit: int) -> list[Event]:
        """Instance events with `after_seq < seq <= up_to` of accounts with enabled endpoints, in order."""
        ...

    async def due_endpoints(self, limit: int) -> list[str]:
        """Ids of enabled endpoints that are due and unheld by the store's clock, the longest due first."""
        ...

    async def heads(self, endpoint_id: str, limit: int) -> list[tuple[float, Delivery]]:
        """The first pending delivery of each lane of an endpoint, with the seconds until it may go by the store's
        clock; the first to go first."""
        ...

    async def oldest(self, endpoint_id: str, limit: int) -> list[Delivery]:
        """An endpoint's pending deliveries, the oldest events first."""
        ...

    async def expire(self, before: int, limit: int) -> int:
        """Remove deliveries that ended before then, and what deleted endpoints left; at most `limit` rows of each
        kind. Returns how many rows went."""
        ...


class Store(Protocol):
    """All durable state of a deployment."""

    @property
    def webhooks(self) -> WebhookRows:
        """The part that only webhooks need."""
        ...

    async def run(self, unit: UnitOfWork[T]) -> T:
        """Decide and commit; returns once it is durable. Raises what `decide` raised, or Unavailable. A row that
        `decide` put and returned comes back as it was committed, with its revision."""
        ...

    async def info(self) -> StoreInfo:
        """What identifies this store."""
        ...

    async def get(self, scope: Scope, table: type[R], id: str) -> R | None:
        """One row."""
        ...

    async def message(self, scope: Scope, table: type[Instance] | type[Operation], id: str) -> bytes | None:
        """One row's canonical message, serialized."""
        ...

    async def messages(
        self, scope: Scope, query: InstanceQuery | OperationQuery, before_id: str, limit: int
    ) -> list[tuple[str, bytes]]:
        """(id, canonical message) of a page: newest first, ids below `before_id` (empty: from the newest)."""
        ...

    async def select(
        self, scope: Scope, table: type[R], where: dict[str, object], before_id: str, limit: int
    ) -> list[R]:
        """A page of rows, newest first."""
        ...

    async def usage(self, scope: Scope, query: UsageQuery) -> list[UsageRow]:
        """Sums over a ledger, by bucket and group. May take long; never on the event loop."""
        ...

    async def window(self) -> LogWindow:
        """What the event log holds now."""
        ...

    async def events(self, after_seq: int, limit: int) -> list[Event]:
        """Events of all accounts with `seq > after_seq`, in order. For the hub, which filters by account."""
        ...

    async def due_in(self, host_id: str) -> float | None:
        """Seconds until the next work item is due and unheld, by the store's clock; not above 0: now; None: never."""
        ...

    async def expire(self, before: int, keep_events: int, limit: int) -> int:
        """Remove finished operations, idempotency records and events that are older than `before`, at most `limit`
        rows of each, never the newest event. Returns how many rows went."""
        ...

    async def live_counts(self) -> list[LiveCount]:
        """Unsettled instances by provider and state, for metrics."""
        ...

    async def check(self) -> None:
        """Touch the store for a health check: raises Unavailable when it cannot write."""
        ...

    async def close(self) -> None:
        """Finish what was accepted and let go."""
        ...
