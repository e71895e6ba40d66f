"""Asking for one machine or several, and waiting for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from controlplane.cli.errors import OPERATION_FAILED, Failure

if TYPE_CHECKING:
    from gpuplane_client import Client


@dataclass
class Accepted:
    """What the server accepted of what was asked for, and how much of it came to nothing."""

    operations: list[Any]
    asked: int
    lost: int = 0

    def fail_if_incomplete(self) -> None:
        """Raise Failure unless every machine that was asked for is there."""
        if self.lost:
            raise Failure(f"{self.lost} of {self.asked} machines could not be had", OPERATION_FAILED)


def accept(client: Client, request: Any, machines: int | None, least: int | None) -> Accepted:
    """Have the wish accepted: once, or so many times. Refusals of some are printed; of all, raised."""
    if machines is None:
        return Accepted([client.instances.CreateInstance(request)], 1)
    from gpuplane.v1.instance_service_pb2 import ReserveInstancesRequest

    name, request.request_id = request.request_id, ""
    answer = client.instances.ReserveInstances(
        ReserveInstancesRequest(request_id=name, create=request, count=machines, min_count=least or 0)
    )
    operations = [result.operation for result in answer.results if result.HasField("operation")]
    for number, result in enumerate(answer.results, 1):
        if result.HasField("error"):
            click.echo(f"machine {number}: {result.error.reason}: {result.error.message}", err=True)
    return Accepted(operations, machines, machines - len(operations))


def await_all(client: Client, accepted: Accepted, timeout: float | None) -> list[Any]:
    """The instances that came up. With several, one that fails is counted and the others are waited for."""
    import time

    from gpuplane.v1.instance_service_pb2 import GetInstanceRequest
    from gpuplane_client import OperationFailed

    from controlplane.cli.progress import wait_shown

    until = None if timeout is None else time.monotonic() + timeout
    instances = []
    for operation in accepted.operations:
        left = None if until is None else max(0.0, until - time.monotonic())
        try:
            wait_shown(client, operation, title=f"renting {operation.instance_id}", timeout=left)
        except OperationFailed as error:
            if accepted.asked == 1:
                raise
            click.echo(f"{operation.instance_id}: {error.reason}: {error}", err=True)
            accepted.lost += 1
            continue
        instances.append(client.instances.GetInstance(GetInstanceRequest(id=operation.instance_id)))
    return instances
