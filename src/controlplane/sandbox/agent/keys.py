"""Who may log in: the control plane's probe, the keys of the launch, and those that were added since."""

from __future__ import annotations

from collections.abc import Sequence

import asyncssh

PROBE_OPTION = "gpuplane-probe"
_CLOSED = f"{PROBE_OPTION},no-pty,no-port-forwarding,no-agent-forwarding,no-X11-forwarding"


class Keys:
    """The machine's authorized keys; they live as long as the agent does."""

    def __init__(self, probe_key: str, lines: Sequence[str]) -> None:
        # First, so that a tenant's key that happens to be the probe's opens no more than the probe may.
        self._lines = [f"{_CLOSED} {probe_key}", *lines]
        self.accepted = _parsed(self._lines)

    def add(self, line: str) -> None:
        """Let one more in from now on; connections that are open stay. Raises ValueError for what is no key."""
        if line not in self._lines:
            lines = [*self._lines, line]
            self.accepted, self._lines = _parsed(lines), lines


def _parsed(lines: Sequence[str]) -> asyncssh.SSHAuthorizedKeys:
    return asyncssh.import_authorized_keys("\n".join(lines) + "\n")
