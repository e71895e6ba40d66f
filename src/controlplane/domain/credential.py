"""Provider credentials that accounts bring along: their machines are bought and billed under them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProviderCredential:
    """One account's credential at one provider. The secret is sealed under the master key, bound to this row."""

    id: str
    account_id: str
    provider: str
    name: str
    sealed: str  # AES-256-GCM, base64; empty once revoked and no machine needs it any more
    fingerprint: str  # the first 12 hex digits of the secret's SHA-256, for people
    created_at: int
    revoked_at: int | None = None  # nothing is bought under it any more; what was bought is kept and returned
