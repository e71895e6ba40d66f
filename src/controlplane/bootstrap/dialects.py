"""The dialects that are served. Adding one is its proto, its folder under api/dialects, and its line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controlplane.api.canonical.webhooks import CANONICAL_WEBHOOKS
from controlplane.api.dialects.gpuai import GPUAI
from controlplane.api.dialects.hoonify import HOONIFY
from controlplane.dialect import CANONICAL, Dialect, WebhookFormat
from controlplane.domain.key_format import KeyFormat

DIALECTS: tuple[Dialect, ...] = (replace(CANONICAL, webhooks=CANONICAL_WEBHOOKS), GPUAI, HOONIFY)


def key_formats() -> tuple[KeyFormat, ...]:
    """Of all dialects."""
    return tuple(form for dialect in DIALECTS for form in dialect.key_formats)


def first_key_formats() -> tuple[KeyFormat, ...]:
    """Those that credentials.json has a key of: the first of each dialect."""
    return tuple(dialect.key_formats[0] for dialect in DIALECTS if dialect.key_formats)


def webhook_formats() -> Mapping[str, WebhookFormat]:
    """Of the dialects that have webhooks, by name."""
    return {dialect.name: dialect.webhooks for dialect in DIALECTS if dialect.webhooks is not None}
