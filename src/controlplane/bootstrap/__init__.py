"""The only place that knows every part: builds them, starts them in order, and stops them in reverse."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys

import uvloop

from controlplane import logs, tracing
from controlplane.adapters.store.schema import SchemaError
from controlplane.domain.errors import PlaneError
from controlplane.edge.errors import EdgeError
from controlplane.settings import Settings, SettingsError
from controlplane.state_folder import StartError, StateFolder


def run_up(settings: Settings) -> int:
    """Run the plane until SIGINT or SIGTERM; the exit code."""
    # Read when gRPC is loaded, by the workers too. We fork only to run other programs; its handlers would say at each
    # that they cannot help.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    from controlplane.bootstrap.plane import up

    logs.setup(settings.log_level)
    os.umask(0o077)  # nothing in the state folder is for others
    try:
        return uvloop.run(up(settings))
    except (StartError, SchemaError, EdgeError, SettingsError, PlaneError, tracing.TracingError) as error:
        print(f"gpuplane: {error}", file=sys.stderr)
        return 1
    except sqlite3.Error as error:
        print(f"gpuplane: the database cannot be used: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def migrate(settings: Settings) -> str:
    """Bring the database to this build's schema; a sentence saying what was done."""
    from controlplane.bootstrap.stores import migrate_store

    folder = StateFolder(settings.state, settings.master_key_file)
    folder.acquire()
    try:
        return asyncio.run(migrate_store(settings, folder))
    finally:
        folder.release()


def render_envoy(settings: Settings) -> str:
    """The Envoy configuration that `up` would run, for those who run their own."""
    from controlplane.bootstrap.dialects import served
    from controlplane.bootstrap.plane import edge_config
    from controlplane.edge.render import render

    return render(edge_config(settings, settings.state.resolve() / "run"), served(settings))
