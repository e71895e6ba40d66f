"""Opening the database that the settings name, at this build's schema, with its first account."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from controlplane import logs
from controlplane.adapters.bus.memory import MemoryBus
from controlplane.adapters.store.schema import SCHEMA, database_path
from controlplane.adapters.store.sqlite import SqliteStore
from controlplane.adapters.system import SystemClock, SystemIds
from controlplane.domain.account import Account, ApiKey, hash_secret
from controlplane.domain.ids import ACCOUNT, API_KEY, encode
from controlplane.domain.key_format import KeyFormat
from controlplane.domain.principal import ALL
from controlplane.metrics import Metrics
from controlplane.ports.bus import Topic
from controlplane.ports.store import Get, Store, Transaction, UnitOfWork
from controlplane.settings import Settings
from controlplane.state_folder import StartError, StateFolder


async def migrate_store(settings: Settings, folder: StateFolder) -> str:
    """Bring the database to this build's schema; a sentence saying what was done."""
    from controlplane.adapters.store.schema import migrate

    path = database_path(settings.database_url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    return await migrate(settings.database_url, SystemIds(), folder.deployment_id)


def is_current(settings: Settings) -> bool:
    """Whether a look is enough to know that nothing is to be migrated; loading the migration tool takes its time."""
    path = database_path(settings.database_url)
    return path is not None and _is_current(path)


def _is_current(path: Path) -> bool:
    """Whether the database needs no migration; a plain look, so that a start need not load the migration tool."""
    if not path.exists():
        return False
    with contextlib.closing(sqlite3.connect(path)) as database:
        try:
            rows = dict(database.execute("SELECT key, value FROM meta").fetchall())
        except sqlite3.Error:
            return False
    compatible = int(rows.get("min_compatible", SCHEMA + 1)) <= SCHEMA
    return int(rows.get("schema", 0)) >= SCHEMA and compatible and "deployment_id" in rows


async def open_store(settings: Settings, bus: MemoryBus, metrics: Metrics) -> Store:
    """The store, open. Its commits wake this process's loops and watchers."""
    path = database_path(settings.database_url)

    def committed(units: int, seconds: float) -> None:
        metrics.committed(units, seconds)
        bus.notify(Topic.EVENTS)

    def woken() -> None:
        bus.notify(Topic.EVENTS)
        bus.notify(Topic.WORK)

    if path is not None:
        return SqliteStore(path, SystemClock(), SystemIds(), committed)
    from controlplane.adapters.store.postgres import PostgresStore

    return PostgresStore(settings.database_url, SystemIds(), committed, woken)


async def settle_deployment(store: Store, folder: StateFolder) -> str:
    """This deployment's id. It stands in the database and outside it: where they differ the database is a copy, and the
    machines of its rows belong to the deployment that it was copied from. Raises StartError where only a person knows.
    """
    theirs = (await store.info()).deployment_id
    if not folder.has_deployment_id:
        raise StartError(
            f"the database belongs to deployment {theirs}, and the state folder {folder.path} is new: if this is a "
            f"replica of it or its moved state folder, set GPUPLANE_DEPLOYMENT_ID={theirs}; if the database is a copy, "
            "set another one, and the machines of its rows are left alone"
        )
    mine = folder.deployment_id()
    if mine != theirs:
        logs.get("plane").warning("plane.copied_database", database=theirs, folder=mine)
    return mine


async def first_account(store: Store, folder: StateFolder, formats: Sequence[KeyFormat]) -> None:
    """The account of credentials.json and its keys, one of each format, made in the database where they are missing.

    A lost file gets new keys for the oldest account, not an account of its own that would see no machines.
    """
    account_id = encode(ACCOUNT, SystemIds().uuid7())
    if not folder.has_credentials and (oldest := await _oldest_account(store)):
        logs.get("plane").warning("plane.credentials_lost", account=oldest, mended="new keys were written")
        account_id = oldest
    account_id, secrets = folder.credentials(account_id, formats)
    missing = []
    for form in formats:
        if not await store.select(ALL, ApiKey, {"secret_sha256": hash_secret(secrets[form.dialect])}, "", 1):
            missing.append(form)

    def decide(tx: Transaction) -> None:
        if tx.get(Account, account_id) is None:
            tx.put(Account(account_id, "default", "USD", 1000, tx.now))
        for form in missing:
            secret, key_id = secrets[form.dialect], encode(API_KEY, tx.ids.uuid7())
            tx.put(
                ApiKey(
                    key_id, account_id, "first key", form.recognisable(secret), hash_secret(secret), form.scopes,
                    tx.now, dialect=form.dialect,
                )
            )  # fmt: skip

    if missing:
        await store.run(UnitOfWork(ALL, [Get(Account, account_id)], decide))


async def check_account(store: Store, id: str, setting: str) -> None:
    """Raise StartError where a setting names an account that does not exist."""
    if id and await store.get(ALL, Account, id) is None:
        raise StartError(f"{setting} must be the id of an account, or empty; got {id!r}")


async def _oldest_account(store: Store) -> str:
    oldest = before = ""
    while page := await store.select(ALL, Account, {}, before, 1000):
        oldest = before = page[-1].id
    return oldest
