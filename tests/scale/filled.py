"""A SQLite database as it is after a year of use, written in bulk with the store's own codecs and statements."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from gpuplane.v1.watch_pb2 import InstanceEvent

from controlplane.adapters.store.batch import MESSAGE_VERSION, build_message
from controlplane.adapters.store.statements import CODECS, Statements
from controlplane.domain.account import Account, IdempotencyRecord
from controlplane.domain.billing import BillingPolicy
from controlplane.domain.events import EventKind
from controlplane.domain.ids import ACCOUNT, EVENT, INSTANCE, LEDGER, encode, label
from controlplane.domain.instance import Instance, Wish
from controlplane.domain.ledger import LedgerEntry, LedgerKind
from controlplane.domain.operation import Operation, OperationKind, OperationState
from controlplane.domain.state import State
from controlplane.domain.work import WorkItem
from controlplane.wire.event import instance_event, nested
from tests.support.fakes import SECOND

DAY = 86_400 * SECOND
ACCOUNTS = 10
DEPLOYMENT = "scale"
PROVIDERS = ("alpha", "beta", "gamma")


@dataclass(frozen=True, slots=True)
class Size:
    """How many rows. Two thirds of the instances belong to the first account."""

    live: int = 12_500
    ended: int = 220_000
    events: int = 290_000
    operations: int = 40_000

    def part(self, by: int) -> Size:
        """The same, smaller."""
        return Size(self.live // by, self.ended // by, self.events // by, self.operations // by)


@dataclass(slots=True)
class Filled:
    """What was written."""

    path: Path
    accounts: list[str]
    live: list[str]  # ids, oldest first
    ended: int
    rare: str  # the one instance that has the label `rare`, the oldest of all
    size: Size


def fill(path: Path, size: Size, now: int, account_id: str = "") -> Filled:
    """Write into a migrated database: a year of ended instances, live ones of the last day, sixty days of events."""
    sql, rng = Statements("sqlite"), random.Random(1)
    accounts = [account_id, *(encode(ACCOUNT, _uuid(n, rng)) for n in range(1, ACCOUNTS))]
    if not account_id:
        accounts[0] = encode(ACCOUNT, _uuid(0, rng))
    database = sqlite3.connect(path, isolation_level=None)
    with contextlib.closing(database):
        database.execute("PRAGMA synchronous=OFF")
        database.execute("BEGIN")
        for n, id in enumerate(accounts):
            row = Account(id, f"account {n}", "USD", 100_000, now - 365 * DAY)
            _insert(database, sql, Account, [row])
        filled = Filled(path, accounts, [], size.ended, "", size)
        instances = _instances(filled, now, rng)
        ledger: list[LedgerEntry] = []
        _insert(database, sql, Instance, _billed(instances, ledger, rng, filled))
        _insert(database, sql, LedgerEntry, ledger)
        due = now + 30 * DAY
        _insert(database, sql, WorkItem, (WorkItem(id, due + n, "alpha") for n, id in enumerate(filled.live)))
        _insert(database, sql, Operation, _operations(filled, now, rng))
        records = (
            IdempotencyRecord(f"{n:08}", accounts[0], "f" * 64, "op", now - 60 * DAY * n // size.operations)
            for n in range(size.operations)
        )
        _insert(database, sql, IdempotencyRecord, records)
        _events(database, sql, filled, now, rng)
        database.execute("COMMIT")
    return filled


def _uuid(at: int, rng: random.Random) -> UUID:
    return UUID(int=(at // 1000) << 80 | 7 << 76 | rng.getrandbits(12) << 64 | 2 << 62 | rng.getrandbits(62))


def _instances(filled: Filled, now: int, rng: random.Random) -> Iterator[Instance]:
    size = filled.size
    for n in range(size.ended + size.live):
        live = n >= size.ended
        at = now - DAY + DAY * (n - size.ended) // size.live if live else now - 365 * DAY + 364 * DAY * n // size.ended
        id = encode(INSTANCE, _uuid(at, rng))
        labels = {"team": f"team-{n % 50}", "run": str(n)} | ({"rare": "yes"} if not n else {})
        if not n:
            filled.rare = id
        if live:
            filled.live.append(id)
        row = Instance(
            id=id, account_id=filled.accounts[0 if n % 3 else n // 3 % ACCOUNTS], create_operation_id=f"op-{n}",
            wish=_WISH, billing=_BILLING, currency="USD", created_at=at, updated_at=at + 60 * SECOND, name=f"box {n}",
            labels=labels, state=State.RUNNING, revision=4, offer_id="alpha-o1", provider=PROVIDERS[n % 3],
            gpu_type="rtx4090", gpu_count=1, vram_gb=24, cpu_count=8, memory_gb=32, disk_gb=50, region="eu",
            location="Frankfurt", tier="on_demand", price_nano_per_hour=400_000_000, attempt=1,
            label=label(DEPLOYMENT, id, 1), machine_id=f"m-{n}", machine_at=at, run_at=at + 60 * SECOND,
            ssh_host="203.0.113.7", ssh_port=22022,
            ssh_user="root", ssh_host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPqk",
        )  # fmt: skip
        if live:
            yield row
            continue
        end = at + 3 * 3600 * SECOND
        yield replace(
            row, state=State.FAILED if n % 1000 == 1 else State.TERMINATED, state_reason="TERMINATED", stop_at=end,
            end_at=end, gone_at=end, updated_at=end,
        )  # fmt: skip


_WISH, _BILLING = Wish(offer_id="alpha-o1", env={"A": "1"}), BillingPolicy()


def _billed(
    rows: Iterable[Instance], ledger: list[LedgerEntry], rng: random.Random, filled: Filled
) -> Iterator[Instance]:
    """The same rows; of every ended one, what it was charged and what it cost."""
    for row in rows:
        if row.end_at is not None:
            at = row.run_at or 0
            for kind in LedgerKind:
                ledger.append(
                    LedgerEntry(
                        encode(LEDGER, _uuid(at, rng)), kind, row.account_id, row.id, 1, at, row.end_at, 1_000_000,
                        "USD", row.provider, row.gpu_type, 1, row.end_at,
                    )
                )  # fmt: skip
        yield row


def _operations(filled: Filled, now: int, rng: random.Random) -> Iterator[Operation]:
    count = filled.size.operations
    for n in range(count):
        at = now - 60 * DAY + 60 * DAY * n // count
        yield Operation(
            id=str(_uuid(at, rng)), account_id=filled.accounts[0], instance_id=filled.live[n % len(filled.live)],
            kind=OperationKind.CREATE_INSTANCE, state=OperationState.SUCCEEDED, created_at=at, updated_at=at,
            done_at=at, revision=3,
        )  # fmt: skip


def _events(database: sqlite3.Connection, sql: Statements, filled: Filled, now: int, rng: random.Random) -> None:
    """Changes of the live instances, each with a real body."""
    codec, count = CODECS[Instance], filled.size.events
    columns = ", ".join(codec.columns)
    found = database.execute(f"SELECT {columns} FROM instances WHERE end_at IS NULL ORDER BY id").fetchall()
    bodies = []
    for values in found:
        row = codec.decode(values)
        bodies.append((row.account_id, row.id, instance_event(build_message(row) or b"", "", now, State.STARTING)))
    first = int(database.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]) + 1

    def bound() -> Iterator[tuple[Any, ...]]:
        for n in range(count):
            account_id, id, body = bodies[n * 7 % len(bodies)]
            at = now - 60 * DAY + 60 * DAY * n // count
            event_id = encode(EVENT, _uuid(at, rng))
            yield sql.insert_event.bind(
                seq=first + n, id=event_id, kind=EventKind.INSTANCE.value, account_id=account_id, subject_id=id, at=at,
                body=body + nested(InstanceEvent.EVENT_ID_FIELD_NUMBER, event_id.encode()), revision=4, final=False,
            )  # fmt: skip

    database.executemany(sql.insert_event.sql, bound())


def _insert(database: sqlite3.Connection, sql: Statements, record: type[Any], rows: Iterable[Any]) -> None:
    codec, statement = CODECS[record], sql.upsert(record)

    def bound() -> Iterator[tuple[Any, ...]]:
        for row in rows:
            values = dict(zip(codec.columns, codec.encode(row), strict=True))
            values |= {"message": build_message(row), "message_version": MESSAGE_VERSION}
            yield statement.bind(**values)

    database.executemany(statement.sql, bound())
