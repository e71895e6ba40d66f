"""One of several server processes; started by `plane.Worker`, which says what to do in one line on stdin."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import uvloop

from controlplane import logs
from controlplane.adapters.store.schema import SchemaError
from controlplane.bootstrap.plane import READY, socket_of
from controlplane.bootstrap.replica import Replica
from controlplane.domain.errors import PlaneError
from controlplane.edge.runtime import runtime_folder
from controlplane.settings import Settings
from controlplane.state_folder import StartError, StateFolder


async def work(order: dict[str, str | int]) -> None:
    """Serve until told to stop, or until the parent is gone."""
    settings = Settings.model_validate_json(str(order["settings"]))
    logs.setup(settings.log_level)
    folder = StateFolder(Path(str(order["state"])), settings.master_key_file)  # the parent holds its lock
    index = int(order["index"])
    socket = socket_of(runtime_folder(folder.path), index)
    replica = await Replica.build(settings, folder, socket, str(order["holder"]), index)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, replica.say_goodbye)
    loop.add_reader(sys.stdin.fileno(), _until_eof, stop)
    await replica.start()
    replica.set_ready(True)
    with contextlib.suppress(BrokenPipeError):  # the parent is gone already: stdin ends, and so do we
        os.write(sys.stdout.fileno(), f"{READY}\n".encode())
    await stop.wait()
    loop.remove_reader(sys.stdin.fileno())
    await replica.stop()


def _until_eof(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        stop.set()


def main() -> int:
    """Read the order and work."""
    os.umask(0o077)
    try:
        uvloop.run(work(json.loads(_order())))
    except (PlaneError, SchemaError, StartError) as error:
        print(error, flush=True)
        return 1
    return 0


def _order() -> bytes:
    """The first line of stdin, unbuffered: what follows is watched for its end only."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(sys.stdin.fileno(), 1)
        if not byte:
            break
        line += byte
    return line


if __name__ == "__main__":
    sys.exit(main())
