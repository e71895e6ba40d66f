"""SSH keys as a machine's authorized_keys is to hold them."""

from __future__ import annotations

from collections.abc import Sequence


def authorized_lines(authorized_keys: Sequence[str], probe_key: str) -> tuple[str, ...]:
    """The lines of the file. The control plane's own key may log in, and do nothing there: every command it runs is
    replaced by one that only succeeds. It stands first, so that a tenant's key that happens to be the same opens no
    more than the probe may."""
    return (f'command="true",restrict {probe_key}', *authorized_keys)
