"""A plane's SQLite database as a MemoryDisk, so that the simulation's invariants judge real histories too."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import sqlalchemy as sa

from controlplane.adapters.store import tables
from controlplane.adapters.store.memory import MemoryDisk
from controlplane.adapters.store.statements import CODECS, Statements
from controlplane.domain.events import Event, EventKind


def read_disk(path: Path) -> MemoryDisk:
    """All rows and events of a database. While a plane writes it, each table is as of its own moment."""
    disk, sql = MemoryDisk(), Statements("sqlite")
    with contextlib.closing(sqlite3.connect(path)) as database:
        for record in tables.BY_RECORD:
            text = sql.render(sa.select(*sql.columns(record))).sql
            for values in database.execute(text):
                row = CODECS[record].decode(values)
                disk.table(record)[row.id] = row
        text = sql.render(sa.select(tables.events).order_by(tables.events.c.seq)).sql
        disk.events = [Event(r[0], r[1], EventKind(r[2]), *r[3:8], bool(r[8])) for r in database.execute(text)]
    return disk
