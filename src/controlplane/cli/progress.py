"""Waiting for an operation in front of a person: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
from gpuplane_client import ApiError

from controlplane.cli.errors import INTERRUPTED, UNREACHABLE, Failure
from controlplane.cli.output import console
from controlplane.cli.show import current_step, progress_lines
from controlplane.cli.values import format_duration

if TYPE_CHECKING:
    from gpuplane.v1.operation_pb2 import Operation
    from gpuplane_client import Client


def wait_shown(client: Client, operation: Operation, *, title: str, timeout: float | None = None) -> Operation:
    """Wait with progress on stderr. Ctrl-C leaves the work going and says how to come back or stop it."""
    try:
        with _Progress(title) as progress:
            progress.update(operation)
            return client.wait(operation, timeout=timeout, on_progress=progress.update)
    except ApiError as error:
        if not error.unreachable:
            raise
        raise Failure(
            f"lost the server while waiting; what it began is not lost: gpuplane operations wait {operation.id}",
            UNREACHABLE,
        ) from error
    except KeyboardInterrupt:
        raise Failure(
            f"stopped waiting, but the work goes on: gpuplane operations wait {operation.id}, "
            f"or give it up: gpuplane operations cancel {operation.id}",
            INTERRUPTED,
        ) from None


class _Progress:
    def __init__(self, title: str) -> None:
        self._title = title
        self._printed: set[str] = set()
        self._began = time.monotonic()
        self._console = console(err=True)
        self._live = self._console.status(title) if self._console.is_terminal else None

    def __enter__(self) -> _Progress:
        if self._live:
            self._live.start()
        else:
            click.echo(self._title, err=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, operation: Operation) -> None:
        for line in progress_lines(operation):
            if line not in self._printed:
                self._printed.add(line)
                self._console.print(f"  {line}", markup=False)
        if self._live:
            elapsed = format_duration(time.monotonic() - self._began)
            self._live.update(f"{self._title}  [bold]{current_step(operation)}[/bold]  {elapsed}")
