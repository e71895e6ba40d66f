"""The vendor's scopes (its page on authentication) and ours in their stead."""

from __future__ import annotations

SCOPES: dict[str, tuple[str, ...]] = {
    "inference:write": ("inference:write",),
    "inference:read": ("inference:read",),
    "compute:write": ("instances:write",),
    "compute:read": ("instances:read",),
    "billing:read": ("usage:read",),
    "admin:write": ("keys:write",),
}

INFERENCE = (*SCOPES["inference:write"], *SCOPES["inference:read"])

_WORDS = {ours: word for word, all_ours in SCOPES.items() for ours in all_ours}


def word_of(scope: str) -> str:
    """A scope of ours in the vendor's word."""
    return _WORDS.get(scope, scope)
