"""The state folder: one plane at a time, its identity, and the keys that its first start writes."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from controlplane.adapters.secrets import load_master_key
from controlplane.domain.key_format import CANONICAL_KEYS, KeyFormat
from controlplane.files import write_private


class StartError(Exception):
    """The plane cannot start; the text is one line for the person who tried."""


class StateFolder:
    """A folder that this process has for itself."""

    def __init__(self, path: Path, master_key_file: Path | None = None) -> None:
        self.path = path.resolve()
        self._master_key_file = master_key_file or self.path / "master.key"
        self._lock: int | None = None

    def acquire(self) -> None:
        """Make the folder if there is none, and lock it for the life of this process. Raises StartError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError(f"the state folder {self.path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.pread(self._lock, 32, 0).decode().strip()
            raise StartError(
                f"another gpuplane (pid {pid or 'unknown'}) runs on the state folder {self.path}"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let another plane have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def master_key(self) -> bytes:
        """The key under which secrets are derived and sealed; made at first start."""
        try:
            key = load_master_key(self._master_key_file)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise StartError(f"{self._master_key_file} is damaged: it must hold 64 hexadecimal digits; restore it")
        return key

    def _once(self, name: str, value: str) -> str:
        """What the file holds; written with `value` if there is none."""
        file = self.path / name
        if not file.exists():
            write_private(file, value)
        return file.read_text().strip()

    @property
    def has_deployment_id(self) -> bool:
        """Whether this folder was given an id, by its first start or by the setting."""
        return (self.path / "deployment_id").exists()

    def set_deployment_id(self, id: str) -> None:
        """Keep the id that the setting gives."""
        write_private(self.path / "deployment_id", id)

    def deployment_id(self) -> str:
        """Eight letters and digits that are part of every label at a provider."""
        return self._once("deployment_id", os.urandom(5).hex()[:8])

    def host_id(self) -> str:
        """Names this host (and its local machines' folder) among replicas of one deployment."""
        return self._once("host_id", f"{socket.gethostname()[:40]}-{os.urandom(3).hex()}")

    def operator_key(self) -> str:
        """The operator's API key; made at first start."""
        return self._once("operator.key", CANONICAL_KEYS.mint(os.urandom(24)))

    @property
    def has_credentials(self) -> bool:
        """Whether an earlier start wrote credentials.json."""
        return (self.path / "credentials.json").exists()

    def credentials(self, account_id: str, formats: Sequence[KeyFormat]) -> tuple[str, dict[str, str]]:
        """(account id, secret by dialect) of the account that the first start makes: one key of each format.

        The file is written before the database knows a key, so that a crash in between loses none: the next start
        finds the file and finishes the work. A dialect that an update brought gets its key then.
        """
        text = self._once("credentials.json", json.dumps({"account": account_id, "keys": {}}))
        account, keys = self._credentials(text)
        if missing := {form.dialect: form.mint(os.urandom(24)) for form in formats if form.dialect not in keys}:
            keys |= missing
            write_private(self.path / "credentials.json", json.dumps({"account": account, "keys": keys}))
        return account, keys

    def _credentials(self, text: str) -> tuple[str, dict[str, str]]:
        try:
            found = json.loads(text)
            return str(found["account"]), {str(name): str(key) for name, key in found["keys"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StartError(f"{self.path / 'credentials.json'} is damaged; restore it or remove it") from None

    def first_account(self) -> str:
        """The account that the first start made; empty before."""
        path = self.path / "credentials.json"
        return self._credentials(path.read_text())[0] if path.exists() else ""

    def write_endpoints(self, endpoints: dict[str, str]) -> None:
        """Where the plane answers, for clients on this host."""
        write_private(self.path / "endpoints.json", json.dumps(endpoints, indent=2) + "\n")
