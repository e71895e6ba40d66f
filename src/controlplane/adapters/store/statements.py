"""Every hot statement, rendered once per dialect by SQLAlchemy Core and run on the driver's own connection.

Going through SQLAlchemy's execution costs three times the statement itself (reference/engine.md section 1); defining
tables and SQL in Core and running the text costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from controlplane.adapters.store import tables
from controlplane.adapters.store.batch import MESSAGE_VERSION, Loaded
from controlplane.adapters.store.codec import RecordCodec
from controlplane.domain.billing import HOUR
from controlplane.domain.events import Event, EventKind
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation
from controlplane.domain.work import WorkItem
from controlplane.ports.store import InstanceQuery, OperationQuery, UsageQuery

CODECS = {record: RecordCodec(record) for record in tables.BY_RECORD}
NEVER = 2**63 - 1
DATABASE_NOW: Any = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * 1_000_000, sa.BigInteger)
"""PostgreSQL's time in microseconds."""

WITH_MESSAGE = frozenset(r for r, t in tables.BY_RECORD.items() if "message" in t.c)


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """SQL text and the order of its parameters."""

    sql: str
    names: tuple[str, ...]
    fixed: dict[str, Any]

    def bind(self, **values: Any) -> tuple[Any, ...]:
        """Parameters in order."""
        if not self.fixed:
            return tuple([values[name] for name in self.names])  # a list is built faster than a generator runs
        return tuple(values[name] if name in values else self.fixed[name] for name in self.names)


class Statements:
    """The statements of one SQL dialect."""

    def __init__(self, dialect: str) -> None:
        make: Any = sqlite.dialect if dialect == "sqlite" else postgresql.dialect
        self.dialect: Any = make(paramstyle="qmark" if dialect == "sqlite" else "numeric_dollar")
        self._insert: Any = sqlite.insert if dialect == "sqlite" else postgresql.insert
        self._by_shape: dict[Any, Statement] = {}

    def render(self, clause: Any) -> Statement:
        """Compile once. Literal values inside the clause become `fixed` parameters."""
        compiled = clause.compile(dialect=self.dialect)
        fixed = {name: value for name, value in compiled.params.items() if value is not None}
        return Statement(str(compiled), tuple(compiled.positiontup or ()), fixed)

    def _shaped(self, shape: Any, build: Any) -> Statement:
        if shape not in self._by_shape:
            self._by_shape[shape] = self.render(build())
        return self._by_shape[shape]

    def columns(self, record: type[Any]) -> list[Any]:
        """The columns to select for a record: its fields, then message and version where it has them."""
        table = tables.BY_RECORD[record]
        extra = ("message", "message_version") if record in WITH_MESSAGE else ()
        return [table.c[name] for name in (*CODECS[record].columns, *extra)]

    def get(self, record: type[Any]) -> Statement:
        """One row by id."""
        table = tables.BY_RECORD[record]
        return self._shaped(
            ("get", record), lambda: sa.select(*self.columns(record)).where(table.c.id == sa.bindparam("id"))
        )

    def where(self, record: type[Any], column: str) -> Statement:
        """Rows by one column."""
        table = tables.BY_RECORD[record]
        return self._shaped(
            ("where", record, column),
            lambda: sa.select(*self.columns(record)).where(table.c[column] == sa.bindparam("value")),
        )

    @cached_property
    def live_instances(self) -> Statement:
        """An account's instances that have not ended."""
        table = tables.instances
        mine = table.c.account_id == sa.bindparam("account_id")
        return self.render(sa.select(*self.columns(Instance)).where(mine, table.c.end_at.is_(None)))

    @cached_property
    def count_live(self) -> Statement:
        """How many they are."""
        table = tables.instances
        return self.render(
            sa.select(sa.func.count())
            .select_from(table)
            .where(table.c.account_id == sa.bindparam("account_id"), table.c.end_at.is_(None))
        )

    @cached_property
    def live_counts(self) -> Statement:
        """Instances that still have work, by provider and state."""
        table, work = tables.instances, tables.work
        since = sa.func.min(sa.func.coalesce(table.c.stop_at, table.c.end_at))
        return self.render(
            sa.select(table.c.provider, table.c.state, sa.func.count(), since)
            .select_from(work.join(table, table.c.id == work.c.id))
            .group_by(table.c.provider, table.c.state)
        )

    @cached_property
    def due(self) -> Statement:
        """Work that is due and unheld, oldest first, but none of the `busy` providers (a JSON array). SQLite only."""
        work = tables.work
        busy: Any = sa.select(sa.column("value")).select_from(sa.func.json_each(sa.bindparam("busy")))
        clause = sa.select(*self.columns(WorkItem)).where(
            work.c.due_at <= sa.bindparam("now"),
            work.c.lease_until <= sa.bindparam("now"),
            sa.or_(work.c.host_id == "", work.c.host_id == sa.bindparam("host_id")),
            work.c.provider.not_in(busy),
        )
        return self.render(clause.order_by(work.c.due_at, work.c.id).limit(sa.bindparam("limit")))

    @cached_property
    def of_work(self) -> Statement:
        """The instances of many work items, each beside the operation that created it."""
        instances, operations = tables.instances, tables.operations
        pairs = instances.join(operations, operations.c.id == instances.c.create_operation_id, isouter=True)
        columns = [*self.columns(Instance), *self.columns(Operation)]
        return self.render(sa.select(*columns).select_from(pairs).where(self._among(instances.c.id)))

    def _among(self, column: Any) -> Any:
        """Whether a column is one of many values: a JSON array on SQLite, an array on PostgreSQL."""
        values: Any = sa.bindparam("values")
        if self.dialect.name == "sqlite":
            return column.in_(sa.select(sa.column("value")).select_from(sa.func.json_each(values)))
        return column == sa.any_(sa.cast(values, postgresql.ARRAY(column.type)))

    def _first_due(self, greatest: Any) -> Any:
        work = tables.work
        first = work.alias("first")

        def mine(table: Any) -> Any:
            return sa.or_(table.c.host_id == "", table.c.host_id == sa.bindparam("host_id"))

        # The first item that no lease delays bounds the search, so that the index answers however many there are.
        undelayed = (
            sa.select(first.c.due_at)
            .where(mine(first), first.c.lease_until <= first.c.due_at)
            .order_by(first.c.due_at)
            .limit(1)
            .scalar_subquery()
        )
        return sa.select(sa.func.min(greatest(work.c.due_at, work.c.lease_until))).where(
            mine(work), work.c.due_at <= sa.func.coalesce(undelayed, NEVER)
        )

    @cached_property
    def next_due(self) -> Statement:
        """When the next item is due. SQLite only."""
        return self.render(self._first_due(sa.func.max))

    @cached_property
    def next_due_and_now(self) -> Statement:
        """When the next item is due, and the database's time. PostgreSQL only."""
        return self.render(sa.select(self._first_due(sa.func.greatest).scalar_subquery(), DATABASE_NOW))

    def upsert(self, record: type[Any]) -> Statement:
        """Insert or replace a row, all columns."""

        def build() -> Any:
            table = tables.BY_RECORD[record]
            names = [c.name for c in self.columns(record)]
            statement = self._insert(table).values({name: sa.bindparam(name) for name in names})
            update = {name: statement.excluded[name] for name in names if name != "id"}
            return statement.on_conflict_do_update(index_elements=["id"], set_=update)

        return self._shaped(("upsert", record), build)

    def update(self, record: type[Any], names: tuple[str, ...]) -> Statement:
        """Change some columns of a row. Takes their values in the order of `names`, then the id."""

        def build() -> Any:
            table = tables.BY_RECORD[record]
            values: dict[Any, Any] = {table.c[name]: sa.bindparam(f"b_{name}") for name in names}
            return sa.update(table).where(table.c.id == sa.bindparam("b_id")).ordered_values(*values.items())

        return self._shaped(("update", record, names), build)

    def delete(self, record: type[Any]) -> Statement:
        """Remove a row."""
        table = tables.BY_RECORD[record]
        return self._shaped(("delete", record), lambda: sa.delete(table).where(table.c.id == sa.bindparam("b_id")))

    @cached_property
    def insert_event(self) -> Statement:
        """Append to the log."""
        return self.render(sa.insert(tables.events))

    @cached_property
    def events_after(self) -> Statement:
        """The log after a point, in order."""
        log = tables.events
        return self.render(
            sa.select(log).where(log.c.seq > sa.bindparam("after")).order_by(log.c.seq).limit(sa.bindparam("limit"))
        )

    @cached_property
    def window(self) -> Statement:
        """The ends of the log."""
        log = tables.events
        low, high = sa.select(sa.func.min(log.c.seq)), sa.select(sa.func.max(log.c.seq))
        # Two subqueries, because min and max in one select scan the table.
        return self.render(sa.select(low.scalar_subquery(), high.scalar_subquery()))

    def messages(self, record: type[Any]) -> Statement:
        """The stored messages of many rows, and whose they are."""
        table = tables.BY_RECORD[record]
        return self._shaped(("messages", record), lambda: sa.select(*_message(table)).where(self._among(table.c.id)))

    def message(self, record: type[Any]) -> Statement:
        """One stored message, and whose it is."""
        table = tables.BY_RECORD[record]
        return self._shaped(
            ("message", record), lambda: sa.select(*_message(table)).where(table.c.id == sa.bindparam("id"))
        )

    def page(self, record: type[Any], query: InstanceQuery | OperationQuery, *, scoped: bool, first: bool) -> Statement:
        """A page of stored messages, newest first. Rendered per shape of the query; values are bound later."""
        shape = ("page", record, _shape(query), scoped, first)

        def build() -> Any:
            table = tables.BY_RECORD[record]
            clause = sa.select(*_message(table))
            if scoped:
                clause = clause.where(table.c.account_id == sa.bindparam("account_id"))
            if not first:
                clause = clause.where(table.c.id < sa.bindparam("before_id"))
            clause = self._filtered(clause, table, query)
            return clause.order_by(table.c.id.desc()).limit(sa.bindparam("limit"))

        return self._shaped(shape, build)

    def select(self, record: type[Any], where: tuple[str, ...], *, scoped: bool, first: bool) -> Statement:
        """A page of rows, newest first, by equality on some columns."""

        def build() -> Any:
            table = tables.BY_RECORD[record]
            clause = sa.select(*self.columns(record)).where(
                *(table.c[name] == sa.bindparam(f"w_{name}") for name in where)
            )
            if scoped:
                owner = table.c.account_id if "account_id" in table.c else table.c.id
                clause = clause.where(owner == sa.bindparam("account_id"))
            if not first:
                clause = clause.where(table.c.id < sa.bindparam("before_id"))
            return clause.order_by(table.c.id.desc()).limit(sa.bindparam("limit"))

        return self._shaped(("select", record, where, scoped, first), build)

    def usage(self, account_id: str | None, query: UsageQuery) -> Any:
        """Sums per hour, group and instance; `reports.fold` makes the buckets of them. Run through the engine."""
        ledger = tables.ledger
        hour = ledger.c.start_at - ledger.c.start_at % HOUR if query.bucket else sa.literal(0)
        group = ledger.c[query.group] if query.group else sa.literal("")
        length = sa.case((ledger.c.storage, 0), else_=ledger.c.end_at - ledger.c.start_at)
        gpus = sa.case((ledger.c.gpu_count > 1, ledger.c.gpu_count), else_=1)
        keys = (hour.label("hour"), group.label("grouped"), ledger.c.instance_id)
        clause = sa.select(
            *keys, sa.func.sum(length), sa.func.sum(length * gpus), sa.func.sum(ledger.c.amount_nano)
        ).where(
            ledger.c.kind == query.kind.value,
            ledger.c.start_at >= query.start_at,
            ledger.c.start_at < query.end_at,
        )
        if account_id is not None:
            clause = clause.where(ledger.c.account_id == account_id)
        if query.instance_id:
            clause = clause.where(ledger.c.instance_id == query.instance_id)
        if query.label is not None:
            clause = clause.where(ledger.c.instance_id.in_(self._labelled(account_id, *query.label)))
        return clause.group_by(*(sa.literal_column(name) for name in ("hour", "grouped")), ledger.c.instance_id)

    def _labelled(self, account_id: str | None, key: str, value: str | None) -> Any:
        """Ids of the instances that carry a label."""
        table = tables.instances
        found = self._label(table.c.labels, sa.literal(key))
        clause = sa.select(table.c.id).where(found.is_not(None) if value is None else found == value)
        return clause if account_id is None else clause.where(table.c.account_id == account_id)

    def _filtered(self, clause: Any, table: sa.Table, query: InstanceQuery | OperationQuery) -> Any:
        if isinstance(query, OperationQuery):
            if query.instance_id:
                clause = clause.where(table.c.instance_id == sa.bindparam("instance_id"))
            return clause.where(table.c.state == sa.bindparam("state")) if query.state else clause
        if query.states:
            states = [table.c.state == sa.bindparam(f"state_{n}") for n in range(len(query.states))]
            clause = clause.where(sa.or_(*states))
        if query.provider:
            clause = clause.where(table.c.provider == sa.bindparam("provider"))
        if query.live_only:
            clause = clause.where(table.c.end_at.is_(None))
        for n, (_, value) in enumerate(query.labels):
            found = self._label(table.c.labels, sa.bindparam(f"label_{n}"))
            clause = clause.where(found.is_not(None) if value is None else found == sa.bindparam(f"value_{n}"))
        return clause

    def _label(self, column: Any, key: Any) -> Any:
        if self.dialect.name == "sqlite":
            return sa.func.json_extract(
                column, sa.literal_column("'$.\"'").concat(key).concat(sa.literal_column("'\"'"))
            )
        return sa.cast(column, postgresql.JSONB).op("->>", return_type=sa.Text())(sa.cast(key, sa.Text))


def _message(table: sa.Table) -> tuple[Any, ...]:
    return table.c.id, table.c.account_id, table.c.message, table.c.message_version


def event_of(row: Sequence[Any]) -> Event:
    """The event of a row of the log."""
    seq, id, kind, account_id, subject_id, at, body, revision, final = row
    return Event(seq, id, EventKind(kind), account_id, subject_id, at, body, revision, bool(final))


def keep(loaded: Loaded, table: type[Any], values: Sequence[Any]) -> None:
    """Note one row of `Statements.columns`."""
    record = CODECS[table].decode(values)
    loaded.rows[table, record.id] = record
    if table in WITH_MESSAGE and values[-1] == MESSAGE_VERSION:
        loaded.messages[table, record.id] = values[-2]


def keep_work(loaded: Loaded, rows: Iterable[tuple[Any, ...]]) -> None:
    """Note what `Statements.of_work` found."""
    width = len(CODECS[Instance].columns) + 2
    for values in rows:
        keep(loaded, Instance, values[:width])
        if values[width] is not None:
            keep(loaded, Operation, values[width:])


def _shape(query: InstanceQuery | OperationQuery) -> tuple[Any, ...]:
    if isinstance(query, OperationQuery):
        return ("operations", bool(query.instance_id), query.state is not None)
    labels = tuple(value is None for _, value in query.labels)
    return ("instances", len(query.states), bool(query.provider), query.live_only, labels)


def query_values(query: InstanceQuery | OperationQuery) -> dict[str, Any]:
    """The values that `page` binds for a query."""
    if isinstance(query, OperationQuery):
        return {"instance_id": query.instance_id, "state": query.state.value if query.state else ""}
    values: dict[str, Any] = {"provider": query.provider}
    values |= {f"state_{n}": state.value for n, state in enumerate(sorted(query.states))}
    for n, (key, value) in enumerate(query.labels):
        values[f"label_{n}"] = key
        values[f"value_{n}"] = value
    return values
