"""A control plane that launches one machine and dies by SIGKILL at a chosen moment: python crashing_plane.py
STATE_DIR LABEL MOMENT AUTHORIZED_KEY PROBE_KEY.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controlplane.adapters.providers.local import LocalProvider, LocalSettings
from controlplane.ports.provider import LaunchSpec
from controlplane.sandbox import machines
from controlplane.sandbox.records import MachineFolder
from controlplane.sandbox.spawn import Launcher


class _Clock:
    def now(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _die(*_args: Any, **_kwargs: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def _then_die(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)
        _die()

    return wrapper


def _arm(moment: str) -> None:
    write = MachineFolder.write
    if moment == "claimed":
        MachineFolder.claim = _then_die(MachineFolder.claim)  # type: ignore[method-assign]
    elif moment == "intended":
        MachineFolder.write = _then_die(write)  # type: ignore[method-assign]
    elif moment == "spawned":
        machines.Machines._admit = _die  # type: ignore[method-assign]
    elif moment == "recorded":
        Launcher.open_gate = _die  # type: ignore[method-assign]
    elif moment == "admitted":
        Launcher.open_gate = _then_die(Launcher.open_gate)  # type: ignore[method-assign]


async def main(state_dir: str, label: str, moment: str, authorized_key: str, probe_key: str) -> None:
    _arm(moment)
    settings = LocalSettings(Path(state_dir), "host-1", cpu_count=1, memory_mb=256, max_pids=96)
    provider = LocalProvider(settings, _Clock())
    offer = (await provider.offers())[0]
    outcome = await provider.launch(LaunchSpec(label, offer, (authorized_key,), probe_key, 1))
    print(outcome, file=sys.stderr)
    if moment == "after":
        _die()


asyncio.run(main(*sys.argv[1:]))
