"""Keeping what acts under the credentials of accounts, in every server process.

Nothing outside is changed here: a process that is killed opens all credentials again when it starts. A credential that
cannot be used is told in the log and harms nobody else: its account buys nothing at that marketplace meanwhile, and the
instances that were bought under it wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import structlog

from controlplane.domain.billing import SECOND
from controlplane.domain.credential import ProviderCredential
from controlplane.domain.errors import PlaneError
from controlplane.domain.instance import Instance
from controlplane.domain.principal import ALL
from controlplane.domain.records import replace
from controlplane.domain.work import WorkItem
from controlplane.ports.provider import Provider
from controlplane.ports.store import Get, Transaction, UnitOfWork
from controlplane.reconcile import strays
from controlplane.reconcile.inventory import fetch_offers, fetch_templates
from controlplane.usecases.account_credentials import SEALED
from controlplane.usecases.core import Core

log = structlog.get_logger()

INTERVAL_S = 2.0
CHECK_S = 60.0  # between two looks whether revoked credentials are still needed
UNNEEDED_S = 3600.0  # for which nothing may need a secret before it is erased: a lost create may show late
FORGET_S = 30 * 86400.0  # from a revocation to the end of the row
TURN_S = 120.0  # for which one account's credential is used to see the market

Factory = Callable[[str], Provider]
"""Makes a provider that acts under the given secret."""


class CredentialKeeper:
    """Fills `core.credentials` from the store.

    `factories` has one factory by provider. `started` is called once something can act under a credential, `ended`
    before that is closed: whoever sweeps begins and ends it there. Only a process with `erases` removes what is no
    longer needed from the store.
    """

    def __init__(
        self, core: Core, factories: Mapping[str, Factory], started: Callable[[str, Provider], None],
        ended: Callable[[str], Awaitable[None]], *, offers_interval_s: float, erases: bool = True,
    ) -> None:  # fmt: skip
        self._core = core
        self._book = core.credentials
        self._factories = factories
        self._started = started
        self._ended = ended
        self._offers_interval_s = offers_interval_s
        self._erases = erases
        self._check_at = 0.0
        self._unneeded_since: dict[str, float] = {}

    @property
    def loops(self) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
        """What has to run for ever, by name: keeping up with the store, and seeing each market that the deployment
        has no credential for.

        Call `refresh` before anything is bought: an account that has a credential must not buy under another.
        """
        unseen = sorted(self._factories.keys() - self._core.providers.keys())
        return {"credentials": self._keep} | {f"offers-{name}": partial(self._scout, name) for name in unseen}

    async def close(self) -> None:
        """Let go of everything; machines go on."""
        for id in self._book.ids:
            await self._drop(id)

    async def _keep(self) -> None:
        while True:
            try:
                await self.refresh()
            except PlaneError as error:
                log.warning("credentials.refresh_failed", error=str(error))
            await self._core.clock.sleep(INTERVAL_S)

    async def refresh(self) -> None:
        """One look at the store. Raises Unavailable when it cannot be read."""
        rows = await self._rows()
        for id in self._book.ids - {row.id for row in rows if row.sealed}:
            await self._drop(id)
        for row in rows:
            if row.sealed and self._book.get(row.id) != row:
                self._install(row)
                await asyncio.sleep(0)  # a provider takes time to make, and there may be many
        if self._erases and self._core.clock.monotonic() >= self._check_at:
            self._check_at = self._core.clock.monotonic() + CHECK_S
            await self._tidy([row for row in rows if row.revoked_at is not None])

    async def _rows(self) -> list[ProviderCredential]:
        rows: list[ProviderCredential] = []
        before = ""
        while page := await self._core.store.select(ALL, ProviderCredential, {}, before, 500):
            before = page[-1].id
            rows += page
            await asyncio.sleep(0)  # SQLite answers without letting others go on
        return rows

    def _install(self, row: ProviderCredential) -> None:
        if self._book.get(row.id) is not None:  # it was opened before, or cannot be; now it is revoked
            self._book.install(row, None)
            return
        provider = self._open(row)
        self._book.install(row, provider)
        if provider is not None:
            self._started(row.id, provider)

    def _open(self, row: ProviderCredential) -> Provider | None:
        """A provider that acts under the credential. No exception's text is logged: it may hold the secret."""
        said = log.bind(provider=row.provider, id=row.id, account=row.account_id)
        factory = self._factories.get(row.provider)
        if factory is None:
            said.error("credentials.unknown_provider", meaning="this build does not know the provider")
            return None
        try:
            secret = self._core.secrets.open(SEALED, row.id, row.sealed).decode()
        except ValueError:
            said.error("credentials.unreadable", meaning="it was encrypted under another master key than this one")
            return None
        try:
            return factory(secret)
        except Exception as error:  # one account's credential must not keep the others from theirs
            said.error("credentials.unusable", meaning="the adapter did not take it", error=type(error).__name__)
            return None

    async def _drop(self, id: str) -> None:
        if self._book.provider(id) is not None:
            await self._ended(id)
        if (provider := self._book.remove(id)) is not None:
            await provider.close()

    async def _tidy(self, revoked: list[ProviderCredential]) -> None:
        """Erase secrets that nothing needs any more, and end rows that are of no interest any more."""
        held = [row for row in revoked if row.sealed]
        needed = await self._needed(held)
        now = self._core.clock.monotonic()
        self._unneeded_since = {
            row.id: self._unneeded_since.get(row.id, now) for row in held if row.id not in needed
        }  # fmt: skip
        for id, since in self._unneeded_since.items():
            if now - since >= UNNEEDED_S:
                await self._erase(id)
        for row in revoked:
            if not row.sealed and self._core.clock.now() - (row.revoked_at or 0) >= FORGET_S * SECOND:
                await self._forget(row.id)

    async def _needed(self, held: list[ProviderCredential]) -> set[str]:
        """The credentials under which there is a machine to be returned, of an instance or a stray."""
        found: set[str] = set()
        store = self._core.store
        for provider in {row.provider for row in held}:
            found |= {row.credential_id for row in await strays.known(self._core, provider, {r.id for r in held})}
            before = ""
            while items := await store.select(ALL, WorkItem, {"provider": provider}, before, 500):
                before = items[-1].id
                for item in items:
                    instance = await store.get(ALL, Instance, item.id)
                    await asyncio.sleep(0)
                    if instance is not None:
                        found.add(instance.credential_id)
        return found

    async def _erase(self, id: str) -> None:
        def decide(tx: Transaction) -> None:
            row = tx.get(ProviderCredential, id)
            if row is not None and row.revoked_at is not None:
                tx.put(replace(row, sealed=""))

        await self._core.store.run(UnitOfWork(ALL, [Get(ProviderCredential, id)], decide))
        log.info("credentials.erased", id=id)

    async def _forget(self, id: str) -> None:
        def decide(tx: Transaction) -> None:
            tx.delete(ProviderCredential, id)

        await self._core.store.run(UnitOfWork(ALL, [Get(ProviderCredential, id)], decide))

    async def _scout(self, name: str) -> None:
        """See a market through those who may buy there, in turns: one whose key stopped working costs one turn."""
        clock, turn = self._core.clock, 0
        while True:
            buyers = self._book.buyers(name)
            if not buyers:
                if turn:
                    self._core.offers.update(name, (), clock.now())
                turn = 0
                await clock.sleep(INTERVAL_S)
                continue
            provider = buyers[turn % len(buyers)]
            turn += 1
            pause_s = max(self._offers_interval_s, provider.capabilities.offers_pause_s)
            ends_at = clock.monotonic() + TURN_S
            await fetch_templates(self._core, provider)
            while clock.monotonic() < ends_at and provider in self._book.buyers(name):
                await fetch_offers(self._core, provider)
                await clock.sleep(pause_s)
