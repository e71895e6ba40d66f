"""The machine's own log: lines on standard output, which is a file outside the sandbox, kept short."""

from __future__ import annotations

import logging
import os
import time

LIMIT_BYTES = 1_000_000
LINE_LIMIT = 2_000


class Journal(logging.Handler):
    """Appends lines to a descriptor and starts over when the file has grown too long.

    The descriptor must be in append mode. `secrets` are masked wherever they occur.
    """

    def __init__(self, fd: int, secrets: tuple[str, ...] = ()) -> None:
        super().__init__(logging.WARNING)
        self._fd = fd
        self._secrets = tuple(secret for secret in secrets if secret)
        self._written = 0

    def emit(self, record: logging.LogRecord) -> None:
        """What libraries have to say goes through the same bound."""
        self.write(f"{record.levelname.lower()}: {self.format(record)}")

    def write(self, text: str) -> None:
        """Append one line with its time; never raises, since a full host disk must not end a machine."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = f"{stamp} {text[:LINE_LIMIT]}\n".encode("utf-8", "replace")
        try:
            if self._written + len(line) > LIMIT_BYTES:
                os.ftruncate(self._fd, 0)
                self._written = 0
            self._written += os.write(self._fd, line)
        except OSError:
            self._written = 0
