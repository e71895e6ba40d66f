"""`gpuplane status` and `gpuplane metrics`: is the server well?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from controlplane.cli.base import ApiCommand, common, connect
from controlplane.cli.errors import TIMED_OUT, Failure
from controlplane.cli.values import DURATION

if TYPE_CHECKING:
    from gpuplane.v1.system_service_pb2 import Health, Readiness, ServerInfo

_POLL_S = 0.3


@click.command(cls=ApiCommand)
@click.option("--wait", is_flag=True, help="Wait until server, health and readiness all answer well.")
@click.option("--timeout", type=DURATION, help="Longest wait (exit code 5 after it).  [default: 60s]")
def status(wait: bool, timeout: Any) -> None:
    """Tell whether the server is reachable, well and ready."""
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_fixed

    seconds = timeout.seconds if timeout else 60
    retrying = Retrying(
        retry=retry_if_exception_type(Failure),
        wait=wait_fixed(_POLL_S),
        stop=stop_after_delay(seconds) if wait else stop_after_attempt(1),
        reraise=True,
    )
    try:
        answers = retrying(_ask)
    except Failure as failure:
        if wait:
            raise Failure(f"not ready after {seconds} s: {failure.message}", TIMED_OUT) from None
        raise
    _show(*answers)


@click.command(cls=ApiCommand)
def metrics() -> None:
    """Print metrics for Prometheus (off loopback: operators only)."""
    from gpuplane.v1.system_service_pb2 import GetMetricsRequest

    with connect(operator=True) as client:
        click.echo(client.system.GetMetrics(GetMetricsRequest()).data, nl=False)


def _ask() -> tuple[ServerInfo, Health, Readiness]:
    """What the server says of itself; a Failure unless all is well."""
    from gpuplane.v1.system_service_pb2 import GetHealthRequest, GetReadinessRequest, GetServerInfoRequest
    from gpuplane_client import ApiError

    try:
        # Each try looks the endpoint up anew: a server that starts writes its state folder first.
        with connect(retry_for=0) as client:
            info: ServerInfo = client.system.GetServerInfo(GetServerInfoRequest(), timeout=5)
            health: Health = client.system.GetHealth(GetHealthRequest(), timeout=5)
            readiness: Readiness = client.system.GetReadiness(GetReadinessRequest(), timeout=5)
    except ApiError as error:
        raise Failure(f"the server answers but is not well: {error}") from error
    if readiness.ready and health.status != "unavailable":
        return info, health, readiness
    ill = [f"{name}: {check.message}" for name, check in sorted(health.checks.items()) if not check.healthy]
    raise Failure(f"the server answers but is not ready ({'; '.join(ill) or health.status})")


def _show(info: ServerInfo, health: Health, readiness: Readiness) -> None:
    from controlplane.cli.output import print_details, print_json, print_table, to_dict

    if common().json:
        print_json({"server": to_dict(info), "health": to_dict(health), "readiness": to_dict(readiness)})
        return
    print_details(
        [
            ("server", f"gpuplane {info.version}"),
            ("deployment", info.deployment_id),
            ("providers", ", ".join(info.providers)),
            ("health", health.status),
            ("ready", "yes" if readiness.ready else "no"),
        ]
    )
    rows = [
        (name, "ok" if check.healthy else "failed", f"{check.response_time_ms:.1f} ms", check.message)
        for name, check in sorted(health.checks.items())
    ]
    if rows:
        click.echo()
        print_table(("CHECK", "STATE", "TOOK", "MESSAGE"), rows, keep=("CHECK", "STATE", "TOOK"))
