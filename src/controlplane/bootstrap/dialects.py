"""The dialects that are served. Adding one is its proto, its folder under api/dialects, and its line here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from controlplane.api.canonical.webhooks import CANONICAL_WEBHOOKS
from controlplane.api.dialects.gpuai import GPUAI
from controlplane.api.dialects.hoonify import HOONIFY
from controlplane.api.dialects.shopper import SHOPPER
from controlplane.api.interceptors.keyless import KeylessCallers
from controlplane.dialect import CANONICAL, Dialect, WebhookFormat
from controlplane.domain.key_format import KeyFormat
from controlplane.domain.principal import Principal
from controlplane.settings import Settings, is_loopback

DIALECTS: tuple[Dialect, ...] = (replace(CANONICAL, webhooks=CANONICAL_WEBHOOKS), SHOPPER, GPUAI, HOONIFY)


def served(settings: Settings) -> tuple[Dialect, ...]:
    """The dialects as a deployment serves them: the main port leaves out one that asks for no key, unless only this
    host can reach it."""
    return tuple(_served(dialect, settings) for dialect in DIALECTS)


def _served(dialect: Dialect, settings: Settings) -> Dialect:
    if not dialect.keyless:
        return dialect
    if settings.shopper_require_key:
        return replace(dialect, keyless=False)
    return dialect if is_loopback(settings.bind) else replace(dialect, claims=(), hosts=())


def own_binds(settings: Settings) -> Mapping[str, str]:
    """The addresses of dialects' ports that are not `bind`, by name."""
    if settings.shopper_bind:
        return {SHOPPER.name: settings.shopper_bind}
    if settings.shopper_require_key or is_loopback(settings.bind):
        return {}
    return {SHOPPER.name: "::1" if ":" in settings.bind else "127.0.0.1"}


def keyless_callers(dialects: Iterable[Dialect], account_id: str) -> Mapping[str, KeylessCallers]:
    """Who may call which dialect without a key: for the account, and with every scope that the dialect knows."""
    return {
        dialect.name: KeylessCallers(
            Principal(account_id, f"keyless/{dialect.name}", frozenset(dialect.scopes.values()), dialect=dialect.name)
        )
        for dialect in dialects
        if dialect.keyless
    }


def key_formats() -> tuple[KeyFormat, ...]:
    """Of all dialects."""
    return tuple(form for dialect in DIALECTS for form in dialect.key_formats)


def first_key_formats() -> tuple[KeyFormat, ...]:
    """Those that credentials.json has a key of: the first of each dialect."""
    return tuple(dialect.key_formats[0] for dialect in DIALECTS if dialect.key_formats)


def webhook_formats() -> Mapping[str, WebhookFormat]:
    """Of the dialects that have webhooks, by name."""
    return {dialect.name: dialect.webhooks for dialect in DIALECTS if dialect.webhooks is not None}
