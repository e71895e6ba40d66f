"""`gpuplane simulate`: a marketplace to rehearse against."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controlplane.cli.errors import Failure

if TYPE_CHECKING:
    from controlplane.simulators.machines import Premises
    from controlplane.simulators.marketplace import Marketplace

# Not taken from the catalogue: completing a command line should not load it.
_MARKETS = ("vastai", "tensordock", "ionet")
_SETTINGS = {
    "vastai": "GPUPLANE_VASTAI_API_KEY={key} GPUPLANE_VASTAI_URL={url}",
    "tensordock": "GPUPLANE_TENSORDOCK_API_TOKEN={key} GPUPLANE_TENSORDOCK_URL={url}/api/v2",
    "ionet": "GPUPLANE_IONET_API_KEY={key} GPUPLANE_IONET_URL={url}",
}


@click.command()
@click.argument("market", type=click.Choice(_MARKETS))
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Port; 0 takes a free one.  [default: 0]")
@click.option("--bind", metavar="ADDRESS", default="127.0.0.1", help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--faults",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON file of what goes wrong.  [default: nothing]",
)
@click.option(
    "--machines",
    type=click.Choice(["none", "fake", "sandbox"]),
    default="fake",
    help="What stands behind a rented machine: an address only, an SSH server that answers and runs nothing, or a "
    "sandbox with a real shell.  [default: fake]",
)
@click.option("--seed", type=int, default=0, help="Another seed, another market.  [default: 0]")
@click.option("--offers", type=click.IntRange(0, 200_000), default=60, help="How many offers.  [default: 60]")
@click.option("--key", "keys", multiple=True, metavar="KEY", help="An API key to accept.  [default: any]")
def simulate(market: str, **options: Any) -> None:
    """Run a pretended marketplace to rehearse against.

    It speaks the vendor's API on this host: nothing is spent, and things go wrong on request.

    What it does can be changed while it runs: POST /_sim/config takes what a faults file holds. See GET /_sim/config,
    /_sim/journal and /_sim/ledger.
    """
    with ExitStack() as cleanup:
        model = _model(market, options, _premises(market, options["machines"], cleanup))
        asyncio.run(_serve(model, market, options))


async def _serve(model: Marketplace[Any], market: str, options: dict[str, Any]) -> None:
    from controlplane.simulators.server import SimulatorServer

    server, stopping = SimulatorServer(model), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        url = await server.start(options["bind"], options["port"])
    except OSError as error:
        # asyncio's words repeat the address; a name that does not resolve has numbers of its own.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise Failure(f"cannot listen on {options['bind']}:{options['port']}: {why}") from None
    key = options["keys"][0] if options["keys"] else "test"
    click.echo(f"{market} simulator at {url}; use it: {_SETTINGS[market].format(key=key, url=url)} gpuplane up")
    try:
        await stopping.wait()
    finally:
        await server.close()


def _model(market: str, options: dict[str, Any], premises: Premises) -> Marketplace[Any]:
    from controlplane.simulators import catalogue
    from controlplane.simulators.clock import SystemClock
    from controlplane.simulators.faults import read_file

    model: Marketplace[Any] = catalogue.model(market)(
        SystemClock(), seed=options["seed"], keys=options["keys"], premises=premises, offers=options["offers"]
    )
    if options["faults"]:
        with _faults_errors(options["faults"]):
            model.configure(read_file(options["faults"]))
    return model


@contextlib.contextmanager
def _faults_errors(path: Path) -> Iterator[None]:
    from controlplane.simulators.faults import BadFile, Misuse

    try:
        yield
    except BadFile as error:
        raise Failure(str(error)) from None
    except Misuse as misuse:
        raise Failure(f"{path}: {misuse}") from None
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror}") from None


def _premises(market: str, kind: str, cleanup: ExitStack) -> Premises:
    if kind == "none":
        from controlplane.simulators.machines import AddressesOnly

        return AddressesOnly()
    if kind == "fake":
        from controlplane.simulators.fake_machines import FakeMachines

        return FakeMachines()
    return _sandboxes(market, cleanup)


def _sandboxes(market: str, cleanup: ExitStack) -> Premises:
    from controlplane.sandbox.spec import SandboxError
    from controlplane.simulators import catalogue
    from controlplane.simulators.sandbox_machines import SandboxMachines

    user = catalogue.user(market)
    if user != "root":
        raise Failure(f"{market}'s machines are entered as {user!r}, and a sandbox only as root; use --machines fake")
    folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="gpuplane-simulate-"))
    try:
        return SandboxMachines(Path(folder))
    except SandboxError as error:
        raise Failure(f"this host can build no sandbox: {error}") from None
