"""The statements of a batch on PostgreSQL, as text: few and wide, because each one is a round trip.

Built once for every shape of a batch; SQLAlchemy has no words for rows of several tables in one answer, or for several
writes in one statement.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy.dialects import postgresql

from controlplane.adapters.store import tables
from controlplane.adapters.store.statements import CODECS, WITH_MESSAGE

MESSAGE = ("message", "message_version")
NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

COLUMNS: dict[type[Any], tuple[str, ...]] = {
    table: (*codec.columns, *(MESSAGE if table in WITH_MESSAGE else ())) for table, codec in CODECS.items()
}
"""A record's fields, `id` first, then message and version where it has them."""

Shape = tuple[tuple[type[Any], tuple[str, ...]], ...]
"""Tables, and by which columns their rows are wanted: an array is bound for each, in order. `live` stands for an
account's instances that have not ended."""

INSERT, UPDATE, DELETE = "insert", "update", "delete"

Write = tuple[type[Any], str, tuple[str, ...]]
"""A table, what happens to its rows, and the columns for each of which an array is bound, `id` first."""


@cache
def locking(shape: Shape) -> str:
    """Lock rows in the order of tables, then ids. Returns nothing of use."""
    return "SELECT " + ", ".join(
        f"(SELECT count(*) FROM (SELECT 1 {rows} ORDER BY id FOR UPDATE) AS locked)" for _, rows in _wanted(shape)
    )


@cache
def reading(shape: Shape) -> str:
    """One row: for each table an array of its rows, locked; then the time, and the live instances of the accounts that
    are bound last."""
    arrays = [
        f"ARRAY(SELECT ROW({', '.join(COLUMNS[table])}) {rows} ORDER BY id FOR UPDATE)"
        for table, rows in _wanted(shape)
    ]
    asked = sum(len(names) for _, names in shape) + 1
    counts = (
        "ARRAY(SELECT ROW(asked.id, (SELECT count(*) FROM instances WHERE account_id = asked.id AND end_at IS NULL))"
        f" FROM unnest(${asked}::text[]) AS asked (id))"
    )
    return "SELECT " + ", ".join([*arrays, NOW, counts])


@cache
def writing(writes: tuple[Write, ...]) -> str:
    """All changes of rows, and the batch's id, which is bound first."""
    parts, bound = [f"INSERT INTO commits (id, at) VALUES ($1, {NOW})"], 2
    for table, kind, names in writes:
        name = tables.BY_RECORD[table].name
        arrays = ", ".join(f"${bound + n}::{_type(table, column)}[]" for n, column in enumerate(names))
        bound += len(names)
        if kind == DELETE:
            parts.append(f"DELETE FROM {name} WHERE id = ANY({arrays})")
        elif kind == INSERT:
            # A plain insert: a row that another process made meanwhile must not be overwritten unseen.
            parts.append(f"INSERT INTO {name} ({', '.join(names)}) SELECT * FROM unnest({arrays})")
        else:
            values = ", ".join(f"{c} = {_new(table, c)}" for c in names[1:])
            parts.append(
                f"UPDATE {name} AS old SET {values} FROM unnest({arrays}) AS new ({', '.join(names)})"
                " WHERE old.id = new.id"
            )
    # PostgreSQL runs the parts that nothing reads from the last to the first. So the first table is written first, in
    # every batch of every process.
    named = [f"part{n} AS ({sql})" for n, sql in enumerate(parts)]
    return f"WITH {', '.join(reversed(named))} SELECT 1"


def _new(table: type[Any], column: str) -> str:
    """A column's new value. Where NULL cannot be one, it stands for "as it was"."""
    kept = column in CODECS[table].texts or column in MESSAGE
    return f"coalesce(new.{column}, old.{column})" if kept else f"new.{column}"


def _type(table: type[Any], column: str) -> str:
    return tables.BY_RECORD[table].c[column].type.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]


def _wanted(shape: Shape) -> list[tuple[type[Any], str]]:
    found, bound = [], 0
    for table, names in shape:
        wanted = []
        for name in names:
            bound += 1
            column = "account_id" if name == "live" else name
            clause = f"{column} = ANY(${bound}::{_type(table, column)}[])"
            wanted.append(f"({clause} AND end_at IS NULL)" if name == "live" else clause)
        found.append((table, f"FROM {tables.BY_RECORD[table].name} WHERE {' OR '.join(wanted)}"))
    return found


_EVENT = tuple(column for column in tables.events.c if column.name != "seq")

APPEND = (
    f"INSERT INTO events (seq, {', '.join(c.name for c in _EVENT)})"
    f" SELECT (SELECT coalesce(max(seq), 0) FROM events) + new.number, {', '.join(f'new.{c.name}' for c in _EVENT)}"
    " FROM unnest("
    + ", ".join(f"${n}::{c.type.compile(dialect=postgresql.dialect())}[]" for n, c in enumerate(_EVENT, 1))  # type: ignore[no-untyped-call]
    + f") WITH ORDINALITY AS new ({', '.join(c.name for c in _EVENT)}, number)"
)
"""Append events in order, numbered on from the last."""
