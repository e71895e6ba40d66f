"""Starts an edge and waits to be killed: `python -m tests.e2e.envoy_support.orphan RUNTIME_DIR PORT`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from controlplane.dialect import CANONICAL
from controlplane.edge.render import EdgeConfig
from controlplane.edge.supervisor import EnvoySupervisor


async def main(folder: Path, port: int) -> None:
    supervisor = EnvoySupervisor(EdgeConfig((folder / "nobody.sock",), port=port), [CANONICAL], folder)
    await supervisor.start()
    print(supervisor.pid, flush=True)
    await asyncio.Event().wait()


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
