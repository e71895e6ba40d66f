"""The folder of one machine: what must survive the control plane stands here, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

_RECORD, _STOP = "record.json", "stop.json"


@dataclass(frozen=True, slots=True)
class Record:
    """One machine. `pid` is 0 until its launcher was started; times are microseconds."""

    label: str
    created_at: int
    host_key: str
    ssh_port: int
    model_port: int
    sandboxed: bool
    bounds: dict[str, int]
    note: dict[str, str | int] = field(default_factory=dict)
    jupyter_port: int = 0
    boot_id: str = ""
    pid: int = 0
    start_ticks: int = 0


class MachineFolder:
    """Files of one machine. The folder is there from before the first process until after the last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.disk = path / "disk.img"
        self.log = path / "agent.log"
        self.child = path / "child.json"
        self.socket = path / "agent.sock"
        self.home = path / "home"  # unsandboxed machines only

    def claim(self) -> bool:
        """Make the folder; false when somebody already has."""
        try:
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            return False
        return True

    def exists(self) -> bool:
        """Whether the machine is on record at all, however little of it."""
        return self.path.is_dir()

    def write(self, record: Record) -> None:
        """Replace the record."""
        self._replace(_RECORD, asdict(record))

    def read(self) -> Record | None:
        """The record, or None when the control plane died before it was written."""
        data = self._load(_RECORD)
        known = {entry.name for entry in fields(Record)}
        try:
            return Record(**{key: value for key, value in (data or {}).items() if key in known})
        except TypeError:  # absent or not whole
            return None

    def write_stop(self, kill_at: int) -> None:
        """Remember until when the machine may take to stop."""
        self._replace(_STOP, {"kill_at": kill_at})

    def read_stop(self) -> int | None:
        """When the machine is to be killed, or None when nobody asked it to stop."""
        data = self._load(_STOP)
        return None if data is None else int(data["kill_at"])

    def child_pid(self) -> int:
        """The sandbox's first process as bwrap reported it, 0 when it has not."""
        data = self._load(self.child.name)
        return 0 if data is None else int(data.get("child-pid", 0))

    def remove(self) -> None:
        """Remove everything, the folder itself last: as long as it is there the machine is accounted for."""
        with contextlib.suppress(FileNotFoundError):  # another replica was faster
            for entry in list(self.path.iterdir()):
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink(missing_ok=True)
            self.path.rmdir()

    def _load(self, name: str) -> dict[str, Any] | None:
        try:
            data = json.loads((self.path / name).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return data if isinstance(data, dict) else None

    def _replace(self, name: str, data: dict[str, Any]) -> None:
        temporary = self.path / f"{name}.new"
        with open(temporary, "wb") as file:
            file.write(json.dumps(data).encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.path / name)
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
