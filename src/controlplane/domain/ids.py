"""Identifiers: one form for every resource, and the label that a provider stores.

A resource id is a prefix and the lower-case base32hex of a UUIDv7 (26 characters): it sorts by creation time as text.
"""

from __future__ import annotations

import base64
import re
from uuid import UUID

INSTANCE, SSH_KEY, API_KEY, EVENT, ACCOUNT, BUDGET, LEDGER = (
    "inst",
    "sshkey",
    "key",
    "evt",
    "acct",
    "budget",
    "led",
)

_LABEL = re.compile(r"^gp-([a-z0-9]{1,12})-([0-9a-v]{26})-([0-9]{1,4})$")


def encode(prefix: str, uuid: UUID) -> str:
    """`inst_` + 26 characters."""
    return f"{prefix}_{base64.b32hexencode(uuid.bytes).decode().rstrip('=').lower()}"


def label_prefix(deployment_id: str) -> str:
    """What every label of this deployment begins with."""
    return f"gp-{deployment_id}-"


def label(deployment_id: str, instance_id: str, attempt: int) -> str:
    """The provider-side name of one attempt's machine: at most 60 characters of [a-z0-9-], reversible."""
    return f"{label_prefix(deployment_id)}{instance_id.removeprefix('inst_')}-{attempt}"


def parse_label(text: str) -> tuple[str, str, int] | None:
    """(deployment id, instance id, attempt) of a label, or None when it is not one of ours."""
    match = _LABEL.match(text)
    return (match[1], f"inst_{match[2]}", int(match[3])) if match else None
