"""The `gpuplane` command: what there is, and how failures leave the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from controlplane.cli.base import LazyGroup
from controlplane.cli.completion import VARIABLE
from controlplane.cli.errors import report

SECTIONS = {
    "Machines": {
        "offers": "offers:offers",
        "prices": "offers:prices",
        "templates": "templates:templates",
        "gpus": "offers:gpus",
        "instances": "instances:instances",
        "operations": "operations:operations",
    },
    "Keys and money": {
        "keys": "keys:keys",
        "usage": "usage:usage",
        "budgets": "budgets:budgets",
        "webhooks": "webhooks:webhooks",
        "credentials": "credentials:credentials",
        "accounts": "accounts:accounts",
        "strays": "strays:strays",
    },
    "Server": {
        "up": "server:up",
        "status": "status:status",
        "doctor": "server:doctor",
        "db": "server:db",
        "envoy": "server:envoy",
        "metrics": "status:metrics",
    },
    "Try it": {
        "demo": "demo:demo",
        "simulate": "simulate:simulate",
        "completion": "completion:completion",
    },
}

EPILOG = """\b
First steps:
  gpuplane up                                            run the plane (another terminal)
  gpuplane offers                                        see what can be rented
  gpuplane instances create --gpu cpu --name box         rent, wait, print how to log in
  gpuplane instances ssh box                             log in
  gpuplane instances terminate box                       give it back

\b
Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 3 server not reachable,
  4 operation failed or cancelled, 5 timed out.
Environment: GPUPLANE_ENDPOINT, GPUPLANE_KEY, GPUPLANE_STATE, GPUPLANE_OUTPUT, NO_COLOR.
"""


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="gpuplane", message="gpuplane %(version)s")
def gpuplane() -> None:
    """Rent, watch, pay for and return GPU machines on any marketplace."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; failures become one line on stderr."""
    try:
        code = gpuplane.main(arguments, prog_name="gpuplane", complete_var=VARIABLE, standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(bool(error.code))
    except BrokenPipeError:
        # The reader (head, less) has what it wants. Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        return report(error)
    return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point."""
    sys.exit(run())
