"""`gpuplane operations`: slow work, what it did and why it failed."""

from __future__ import annotations

from typing import Any

import click

from controlplane.cli.base import Group, common, connect
from controlplane.cli.find import INSTANCE, instance_id
from controlplane.cli.values import DURATION


@click.group(cls=Group)
def operations() -> None:
    """See, wait for and cancel slow work."""


@operations.command("list")
@click.option("--instance", "-i", type=INSTANCE, help="Only about this machine.")
@click.option(
    "--in-state",
    "-s",
    "state",
    type=click.Choice(["pending", "running", "succeeded", "failed", "cancelled"]),
    help="Only in this state.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="At most so many, newest first.",
)
def list_(instance: str | None, state: str | None, limit: int) -> None:
    """List operations, newest first; of failed ones, the reason stands for the state."""
    from gpuplane.v1.operation_pb2 import OperationKind, OperationState
    from gpuplane.v1.operation_service_pb2 import ListOperationsRequest

    from controlplane.cli.output import from_word, print_json, print_table, word
    from controlplane.cli.values import format_age

    with connect() as client:
        request = ListOperationsRequest(
            instance_id=instance_id(client, instance) if instance else "",
            state=from_word(OperationState, state),
            page_size=min(limit, 1000),
        )
        found = list(client.list_all(client.operations.ListOperations, request, limit=limit))
    if common().json:
        print_json(found)
        return
    rows = [
        (
            operation.id,
            word(OperationKind, operation.kind).removesuffix("-instance"),
            operation.error.reason or word(OperationState, operation.state),
            format_age(operation.create_time),
            operation.instance_id,
        )
        for operation in found
    ]
    headings = ("ID", "KIND", "STATE", "AGE", "INSTANCE")
    print_table(headings, rows, keep=("ID", "KIND", "AGE", "INSTANCE"), empty="no operations")


@operations.command()
@click.argument("id")
def get(id: str) -> None:
    """Show an operation with its steps and every attempt on an offer."""
    from gpuplane.v1.operation_service_pb2 import GetOperationRequest

    with connect() as client:
        _show(client.operations.GetOperation(GetOperationRequest(id=id)))


@operations.command()
@click.argument("id")
@click.option("--timeout", type=DURATION, help="Stop waiting after this long (exit code 5); the work goes on.")
def wait(id: str, timeout: Any) -> None:
    """Wait until an operation is done; exit code 4 when it failed or was cancelled."""
    from gpuplane.v1.operation_service_pb2 import GetOperationRequest

    from controlplane.cli.progress import wait_shown

    with connect() as client:
        operation = client.operations.GetOperation(GetOperationRequest(id=id))
        seconds = timeout.seconds if timeout else None
        _show(wait_shown(client, operation, title=f"waiting for {id}", timeout=seconds))


@operations.command()
@click.argument("id")
def cancel(id: str) -> None:
    """Give up renting a machine; one that was already made is returned."""
    from gpuplane.v1.operation_service_pb2 import CancelOperationRequest

    with connect() as client:
        _show(client.operations.CancelOperation(CancelOperationRequest(id=id)))


def _show(operation: Any) -> None:
    from controlplane.cli.output import print_json
    from controlplane.cli.show import operation_details

    print_json(operation) if common().json else operation_details(operation)
