"""Bringing a database to this build's schema, and refusing one that is too new.

A database carries `schema_version` (its alembic revision) and `min_compatible`: the oldest schema number whose builds
may still use it. Old and new replicas run side by side as long as that allows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from controlplane.adapters.store.tables import meta
from controlplane.ports.ids import Ids

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

SCHEMA = 4
"""The number of this build's newest migration."""

MIN_COMPATIBLE = 1
"""The oldest build's SCHEMA that may run on a database of this build."""


MIN_POSTGRESQL = 14

MIGRATION_LOCK = 0x67707570  # "gpup"


class SchemaError(Exception):
    """The database cannot be used by this build; the text says why and what to do."""


def database_path(url: str) -> Path | None:
    """The file of a SQLite URL, `sqlite:///path`; None for PostgreSQL. Raises SchemaError for anything else."""
    if match := re.fullmatch(r"sqlite:///(.+)", url):
        return Path(match[1])
    if url.startswith(("postgresql://", "postgres://")):
        return None
    raise SchemaError(f"the database must be sqlite:///PATH or postgresql://...; got {url.split('://')[0]}://...")


def _engine(url: str) -> AsyncEngine:
    from sqlalchemy.ext.asyncio import create_async_engine  # loaded here: server processes do not need it

    if database_path(url) is not None:
        return create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:", 1))
    try:
        import asyncpg
    except ImportError:
        raise SchemaError("PostgreSQL needs its driver: pip install 'gpuplane[postgres]'") from None

    async def connect() -> Any:
        # The driver reads the URL, not SQLAlchemy, which knows neither sslmode nor target_session_attrs.
        try:
            return await asyncpg.connect(url, timeout=5, target_session_attrs="read-write")
        except asyncpg.TargetServerAttributeNotMatched:
            raise SchemaError("the database is read-only: a standby, or default_transaction_read_only is on") from None
        except TimeoutError:
            raise SchemaError("the database cannot be opened: no answer within 5 s") from None
        except Exception as error:  # of many kinds: OSError, ValueError for parts of the URL, the server's own
            raise SchemaError(f"the database cannot be opened: {_driver_words(error)}") from error

    return create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=sa.NullPool)


async def migrate(url: str, ids: Ids, deployment_id: Callable[[], str]) -> str:
    """Create or upgrade the schema; returns a sentence saying what was done. Raises SchemaError."""
    return await _run(url, _migrate, ids, deployment_id)


async def new_epoch(url: str, ids: Ids) -> str:
    """Make every resume token invalid, for a database whose event numbers may repeat: one that was restored from a
    backup or fell back behind what clients saw. Returns the new epoch. Raises SchemaError."""
    return await _run(url, _new_epoch, ids)


async def _run(url: str, work: Callable[..., str], *args: Any) -> str:
    engine = _engine(url)
    try:
        async with engine.connect() as connection:
            said = await connection.run_sync(work, *args)
            await connection.commit()
            return said
    except (sa.exc.DBAPIError, OSError) as error:
        name = f"{path} " if (path := database_path(url)) else ""
        raise SchemaError(f"the database {name}cannot be opened: {_driver_words(error)}") from error
    finally:
        await engine.dispose()


def _new_epoch(connection: sa.Connection, ids: Ids) -> str:
    if not _check_compatible(connection):
        raise SchemaError("the database is not one of gpuplane")
    epoch = ids.entropy(6).hex()
    connection.execute(sa.update(meta).where(meta.c.key == "epoch").values(value=epoch))
    return epoch


def _check_server(connection: sa.Connection) -> None:
    """Refuse what would fail later. Replicas that start together go on one after the other."""
    version, encoding = (
        connection.scalar(sa.text(f"SHOW {name}")) for name in ("server_version_num", "server_encoding")
    )
    if int(version or 0) < MIN_POSTGRESQL * 10_000:
        raise SchemaError(
            f"gpuplane needs PostgreSQL {MIN_POSTGRESQL} or newer; this server is {int(version or 0) // 10_000}"
        )
    if encoding != "UTF8":
        raise SchemaError(
            f"the database's encoding is {encoding}; gpuplane needs UTF8: "
            "CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8'"
        )
    connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))


def _migrate(connection: sa.Connection, ids: Ids, deployment_id: Callable[[], str]) -> str:
    if connection.dialect.name == "postgresql":
        _check_server(connection)
    before = _check_compatible(connection)
    if int(before or 0) > SCHEMA:
        return f"schema {before}, of a newer gpuplane but compatible"
    if before == str(SCHEMA):
        _fill_meta(connection, ids, deployment_id)
        return f"schema {SCHEMA:04}, up to date"
    # Loading the migration tool takes a while: not for the starts that need none of it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    _fill_meta(connection, ids, deployment_id)
    head = ScriptDirectory.from_config(config).get_current_head()
    return f"schema {before or 'none'} -> {head}"


def _driver_words(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).splitlines()[0] if str(cause) else type(cause).__name__


def _check_compatible(connection: sa.Connection) -> str:
    if not sa.inspect(connection).has_table("meta"):
        return ""
    values: dict[Any, Any] = {row.key: row.value for row in connection.execute(sa.select(meta))}
    needed = int(values.get("min_compatible", 0))
    if needed > SCHEMA:
        raise SchemaError(
            f"the database needs a gpuplane with schema {needed} or newer; "
            f"this build has schema {SCHEMA}: upgrade gpuplane"
        )
    return str(values.get("schema", ""))


def _fill_meta(connection: sa.Connection, ids: Ids, deployment_id: Callable[[], str]) -> None:
    have: dict[Any, Any] = {row.key: row.value for row in connection.execute(sa.select(meta))}
    wanted = {"schema": str(max(SCHEMA, int(have.get("schema", 0)))), "min_compatible": str(MIN_COMPATIBLE)}
    if "epoch" not in have:
        wanted["epoch"] = ids.entropy(6).hex()
    if "deployment_id" not in have:
        wanted["deployment_id"] = deployment_id()
    for key, value in wanted.items():
        if key in have:
            connection.execute(sa.update(meta).where(meta.c.key == key).values(value=value))
        else:
            connection.execute(sa.insert(meta).values(key=key, value=value))
