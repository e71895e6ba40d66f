"""Commands that run or prepare a server on this host: `up`, `db`, `envoy`, `doctor`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from controlplane.cli.base import LocalCommand, common
from controlplane.cli.errors import FAILED, Failure

F = TypeVar("F", bound=Callable[..., object])
_SETTINGS = (
    click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        help="State folder.  [default: .gpuplane]",
    ),
    click.option("--port", type=click.IntRange(0, 65_535), help="Main port; 0 takes a free one.  [default: 8080]"),
    click.option("--processes", type=click.IntRange(1, 64), help="Server processes (PostgreSQL only).  [default: 1]"),
    click.option("--bind", metavar="ADDRESS", help="Address to listen on.  [default: 127.0.0.1]"),
    click.option("--database", metavar="URL", help="sqlite or postgresql URL.  [default: SQLite in the state folder]"),
    click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="TOML file of settings.",
    ),
    click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Least level logged."),
)


def settings_options(command: F) -> F:
    """The flags that stand before environment and TOML file."""
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


@contextmanager
def start_errors() -> Iterator[None]:
    """What keeps a plane from starting, as one line."""
    from controlplane.adapters.store.schema import SchemaError
    from controlplane.edge.errors import EdgeError
    from controlplane.state_folder import StartError

    try:
        yield
    except (EdgeError, SchemaError, StartError) as error:
        raise Failure(str(error)) from None


@click.command()
@settings_options
def up(**flags: Any) -> None:
    """Run the control plane in the foreground until Ctrl-C."""
    from controlplane.bootstrap import run_up

    sys.exit(run_up(_load(flags)))


@click.group()
def db() -> None:
    """Look after the database."""


@db.command()
@settings_options
def migrate(**flags: Any) -> None:
    """Bring the database's schema up to this version."""
    from controlplane.bootstrap import migrate

    with start_errors():
        click.echo(migrate(_load(flags)))


@db.command("new-epoch")
@settings_options
def new_epoch(**flags: Any) -> None:
    """Make all resume tokens invalid, after the database was restored.

    A restored database numbers new events with numbers that clients have seen. Run it before the first server starts
    on it; watchers then get OUT_OF_RANGE and list again.
    """
    import asyncio

    from controlplane.adapters.store.schema import new_epoch as run
    from controlplane.adapters.system import SystemIds
    from controlplane.state_folder import StateFolder

    settings = _load(flags)
    folder = StateFolder(settings.state, settings.master_key_file)
    with start_errors():
        folder.acquire()  # on SQLite no server may run
        try:
            epoch = asyncio.run(run(settings.database_url, SystemIds()))
        finally:
            folder.release()
    click.echo(f"epoch {epoch}: every resume token from before is OUT_OF_RANGE; restart servers that run already")


@click.group()
def envoy() -> None:
    """Look at the REST edge."""


@envoy.command()
@settings_options
def render(**flags: Any) -> None:
    """Print the Envoy configuration that `gpuplane up` would run."""
    from controlplane.bootstrap import render_envoy

    with start_errors():
        click.echo(render_envoy(_load(flags)), nl=False)


@click.command(cls=LocalCommand)
@settings_options
def doctor(**flags: Any) -> None:
    """Say what this host lacks to run gpuplane, and how to mend it.

    Exit code 1 when something is missing without which it cannot run.
    """
    from dataclasses import asdict

    from controlplane.cli.output import print_json, print_table
    from controlplane.doctor import checks

    found = checks(_load(flags))
    if common().json:
        print_json([asdict(check) for check in found])
    else:
        rows = [(check.name, check.verdict, check.found) for check in found]
        print_table(("CHECK", "VERDICT", "FOUND"), rows, keep=("CHECK", "VERDICT"))
        for check in found:
            if check.mend:
                click.echo(f"\n{check.name}: {check.mend}")
    if any(check.verdict == "missing" for check in found):
        sys.exit(FAILED)


def _load(flags: dict[str, Any]) -> Any:
    from controlplane.settings import Settings, SettingsError

    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings.load(config=given.pop("config", None), **given)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
