"""What a sandbox is asked to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class SandboxError(Exception):
    """A sandbox could not be made; the text says why in one sentence and holds no secret.

    `remains`: something of it is left for the moment and has to be stopped like any machine.
    """

    def __init__(self, message: str, *, remains: bool = False) -> None:
        super().__init__(message)
        self.remains = remains


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most one machine may use."""

    cpu_count: int
    memory_mb: int
    disk_mb: int
    max_pids: int


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The model server beside SSH: what it is called, and the bearer it requires."""

    name: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class JupyterSpec:
    """A Jupyter server beside SSH: the token it requires."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """One machine. `note` is kept with its record and handed back as it is."""

    label: str
    authorized_keys: tuple[str, ...]
    probe_key: str
    bounds: Bounds
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    service: ModelSpec | JupyterSpec | None = None
    devices: tuple[str, ...] = ()
    bind: str = "127.0.0.1"
    note: Mapping[str, str | int] = field(default_factory=dict)
