"""Credentials that accounts bring along: which provider object acts under which, in this process."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.domain.credential import ProviderCredential
from controlplane.ports.provider import Provider


class CredentialBook:
    """The credentials of accounts, each with the provider that acts under it. Filled by a loop
    (reconcile/credentials.py); read by everything that buys or returns.

    `marketplaces` are the providers that a credential can be for.
    """

    def __init__(self, marketplaces: Iterable[str] = ()) -> None:
        self.marketplaces = tuple(sorted(marketplaces))
        self.concurrency: dict[str, int] = {}
        self._rows: dict[str, ProviderCredential] = {}
        self._providers: dict[str, Provider] = {}
        self._active: dict[tuple[str, str], set[str]] = {}  # by account and provider: ids under which may be bought

    def install(self, credential: ProviderCredential, provider: Provider | None) -> None:
        """A credential is known from now on, or is as given from now on. Without a provider it cannot be used here:
        its account then buys nothing at that marketplace, rather than on somebody else's bill."""
        self._rows[credential.id] = credential
        if provider is not None:
            self._providers[credential.id] = provider
            self.concurrency[credential.provider] = provider.capabilities.concurrency
        active = self._active.setdefault((credential.account_id, credential.provider), set())
        active.add(credential.id) if credential.revoked_at is None else active.discard(credential.id)

    def remove(self, credential_id: str) -> Provider | None:
        """A credential is gone; the provider that acted under it, to be closed."""
        row = self._rows.pop(credential_id, None)
        if row is not None:
            self._active[row.account_id, row.provider].discard(credential_id)
        return self._providers.pop(credential_id, None)

    def get(self, credential_id: str) -> ProviderCredential | None:
        """The row as it was last installed."""
        return self._rows.get(credential_id)

    def provider(self, credential_id: str) -> Provider | None:
        """Who acts under a credential; None while nobody can."""
        return self._providers.get(credential_id)

    def of(self, account_id: str, provider: str) -> str:
        """The credential under which an account buys at a provider: its newest, for ids sort by time. Empty: it has
        none of its own."""
        return max(self._active.get((account_id, provider), ()), default="")

    def buyers(self, provider: str) -> list[Provider]:
        """Who may buy at a provider for any account, oldest credential first."""
        active = sorted(id for id, row in self._rows.items() if row.provider == provider and row.revoked_at is None)
        return [self._providers[id] for id in active if id in self._providers]

    @property
    def ids(self) -> frozenset[str]:
        """All that are installed."""
        return frozenset(self._rows)
