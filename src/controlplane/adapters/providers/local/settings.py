"""Settings of the local provider."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

_LEAST_MACHINES = 64
_MACHINES_PER_CPU = 32
_MEMORY_PER_MACHINE_MB = 256  # an idle machine needs about 40 MB; most rented ones here are idle


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


def _memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """Where machines live, what one may use, and what is offered. Zero means "fit for this host"."""

    state_dir: Path
    host_id: str
    ssh_bind: str = "127.0.0.1"
    ssh_host: str = ""  # what clients are told to connect to, where that differs from ssh_bind
    simulated: bool = False  # also offer pretend GPUs
    unsandboxed: bool = False  # run machines as plain processes where no sandbox can be built
    cpu_price_nano_per_hour: int = 10_000_000  # one cent
    gpu_price_nano_per_hour: int = 500_000_000  # of one real GPU
    max_machines: int = 0
    cpu_count: int = 0  # of one machine, as are the following
    memory_mb: int = 0
    disk_gb: int = 10  # when a launch does not say
    max_disk_gb: int = 1000
    overcommit_disk: bool = True  # images are sparse; False keeps the sum of all promises within the host's disk
    max_pids: int = 512

    @property
    def machines_dir(self) -> Path:
        """The folder with one folder per machine."""
        return self.state_dir / "machines"

    @property
    def bind(self) -> str:
        """Where machines' SSH servers listen; an unsandboxed one is never shown to the network."""
        return "127.0.0.1" if self.unsandboxed else self.ssh_bind

    @property
    def advertised_host(self) -> str:
        """Where clients find machines."""
        wildcard = self.bind in ("", "0.0.0.0", "::")
        return self.ssh_host or (socket.gethostname() if wildcard else self.bind)

    @property
    def machine_limit(self) -> int:
        """How many machines at once."""
        by_host = min(_cpus() * _MACHINES_PER_CPU, _memory_mb() // _MEMORY_PER_MACHINE_MB)
        return self.max_machines or max(_LEAST_MACHINES, by_host)

    @property
    def machine_cpus(self) -> int:
        """Processors of one machine."""
        return self.cpu_count or min(2, _cpus())

    @property
    def machine_memory_mb(self) -> int:
        """Memory of one machine."""
        return self.memory_mb or max(512, min(4096, _memory_mb() // 4))
