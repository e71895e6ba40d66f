"""Jupyter Server on the machine's loopback address; its token comes by the environment."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Serve the home folder until a signal ends the process; the last argument is the port."""
    from jupyter_server.serverapp import ServerApp

    ServerApp.launch_instance(
        [
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={int(sys.argv[-1])}",
            "--ServerApp.port_retries=0",
            "--ServerApp.open_browser=False",
            "--ServerApp.allow_root=True",  # root of its own user namespace only
            "--ServerApp.allow_remote_access=True",  # callers name the machine's host; the token keeps others out
            f"--ServerApp.root_dir={os.environ['HOME']}",
        ]
    )
