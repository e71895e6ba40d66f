"""`gpuplane instances`: everything about rented machines but renting them."""

from __future__ import annotations

from typing import Any

import click

from controlplane.cli.base import Group, common, connect
from controlplane.cli.create import create
from controlplane.cli.find import INSTANCE, instance_id
from controlplane.cli.ssh import ssh
from controlplane.cli.values import DURATION, PAIR
from controlplane.cli.watch import watch

STATES = ("accepted", "allocating", "starting", "running", "stopping", "stopped", "terminated", "failed")


@click.group(cls=Group)
def instances() -> None:
    """Rent, see, use and return machines.

    ID is an instance's id, the beginning of one, or its name while that is unique.
    """


instances.add_command(create)
instances.add_command(ssh)
instances.add_command(watch)


@instances.command("list")
@click.option("--all", "-a", "ended", is_flag=True, help="Ended machines too.")
@click.option("--in-state", "-s", "states", type=click.Choice(STATES), multiple=True, help="Only in these states.")
@click.option("--provider", default="", help="Only from this provider.")
@click.option("--selector", "-l", default="", metavar="KEY=VALUE", help="Only with these labels; commas join several.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, newest first.")
def list_(ended: bool, states: tuple[str, ...], provider: str, selector: str, limit: int | None) -> None:
    """List machines, newest first."""
    from gpuplane.v1.instance_pb2 import InstanceState
    from gpuplane.v1.instance_service_pb2 import ListInstancesRequest

    from controlplane.cli.output import from_word, print_json, print_table
    from controlplane.cli.show import INSTANCE_HEADINGS, instance_row

    request = ListInstancesRequest(
        page_size=min(limit or 1000, 1000),
        states=[from_word(InstanceState, state) for state in states],
        provider=provider,
        label_selector=selector,
        active_only=not ended and not states,
    )
    with connect() as client:
        found = list(client.list_all(client.instances.ListInstances, request, limit=limit))
    if common().json:
        print_json(found)
        return
    print_table(
        INSTANCE_HEADINGS,
        map(instance_row, found),
        keep=("ID", "STATE", "PRICE", "AGE", "PROVIDER"),
        empty="no machines; rent one: gpuplane instances create --help"
        if ended
        else "no machines are running; --all shows ended ones",
    )


@instances.command()
@click.argument("id", type=INSTANCE)
def get(id: str) -> None:
    """Show one machine in full."""
    from gpuplane.v1.instance_service_pb2 import GetInstanceRequest

    from controlplane.cli.output import print_json
    from controlplane.cli.show import instance_details

    with connect() as client:
        instance = client.instances.GetInstance(GetInstanceRequest(id=instance_id(client, id)))
    print_json(instance) if common().json else instance_details(instance)


@instances.command()
@click.argument("id", type=INSTANCE)
def connection(id: str) -> None:
    """Show how to reach a running machine, with its model's key."""
    from gpuplane.v1.instance_service_pb2 import GetConnectionRequest

    from controlplane.cli.output import print_details, print_json

    with connect() as client:
        found = client.instances.GetConnection(GetConnectionRequest(id=instance_id(client, id)))
    if common().json:
        print_json(found)
        return
    print_details(
        [
            ("ssh", found.ssh_command),
            ("host key", found.ssh_host_key),
            ("model url", found.model_url),
            ("model key", found.model_api_key),
        ]
    )


@instances.command()
@click.argument("id", type=INSTANCE)
@click.option("--tail", "-n", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Lines to show.")
def logs(id: str, tail: int) -> None:
    """Print the end of a machine's log."""
    from gpuplane.v1.instance_service_pb2 import GetInstanceLogsRequest

    from controlplane.cli.output import print_json

    with connect() as client:
        found = client.instances.GetInstanceLogs(GetInstanceLogsRequest(id=instance_id(client, id), tail=tail))
    print_json(found) if common().json else click.echo(found.text.rstrip("\n"))


@instances.command()
@click.argument("id", type=INSTANCE)
def diagnose(id: str) -> None:
    """Show what is known about a machine's well-being."""
    from gpuplane.v1.instance_pb2 import InstanceState
    from gpuplane.v1.instance_service_pb2 import GetDiagnosticsRequest

    from controlplane.cli.output import print_details, print_json, word
    from controlplane.cli.values import format_time

    with connect() as client:
        found = client.instances.GetDiagnostics(GetDiagnosticsRequest(id=instance_id(client, id)))
    if common().json:
        print_json(found)
        return
    known = {name: str(getattr(found, name)) for name in _MEASURED if found.HasField(name)}
    print_details(
        [
            ("instance", found.instance_id),
            ("state", word(InstanceState, found.state)),
            ("provider says", ": ".join(filter(None, [found.provider_status, found.provider_message]))),
            ("last seen", format_time(found.last_seen_time)),
            *((label, known.get(name, "")) for name, label in _MEASURED.items()),
            ("idle since", format_time(found.idle_since)),
        ]
    )


_MEASURED = {"ssh_sessions": "ssh sessions", "cpu_percent": "CPU %", "gpu_percent": "GPU %"}


@instances.command()
@click.argument("id", type=INSTANCE)
@click.argument("duration", type=DURATION)
@click.option("--request-id", default="", help="Repeating with the same id extends only once.")
def extend(id: str, duration: Any, request_id: str) -> None:
    """Move the end of a reservation by DURATION, e.g. 1h30m."""
    from gpuplane.v1.instance_service_pb2 import ExtendInstanceRequest

    from controlplane.cli.output import print_json
    from controlplane.cli.values import format_time

    with connect() as client:
        found = instance_id(client, id)
        request = ExtendInstanceRequest(id=found, duration=duration, request_id=request_id)
        instance = client.instances.ExtendInstance(request)
    if common().json:
        print_json(instance)
    else:
        click.echo(f"{instance.id} now ends at {format_time(instance.expire_time)}")


@instances.command()
@click.argument("id", type=INSTANCE)
@click.option("--name", help="New name; empty clears it.")
@click.option("--label", "labels", type=PAIR, multiple=True, help="Label to set.")
@click.option("--remove-label", "removed", multiple=True, metavar="KEY", help="Label to remove.")
def update(id: str, name: str | None, labels: tuple[tuple[str, str], ...], removed: tuple[str, ...]) -> None:
    """Change name and labels."""
    from gpuplane.v1.instance_service_pb2 import UpdateInstanceRequest

    from controlplane.cli.output import print_json
    from controlplane.cli.show import instance_details

    with connect() as client:
        request = UpdateInstanceRequest(
            id=instance_id(client, id), name=name, labels=dict(labels), remove_labels=removed
        )
        instance = client.instances.UpdateInstance(request)
    print_json(instance) if common().json else instance_details(instance)


@instances.command()
@click.argument("ids", metavar="ID...", type=INSTANCE, nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Kill at once instead of a graceful stop of up to 60 s.")
@click.option("--no-wait", is_flag=True, help="Return once the end is accepted, before the machine is gone.")
@click.option("--timeout", type=DURATION, help="Stop waiting after this long (exit code 5); the work goes on.")
def terminate(ids: tuple[str, ...], force: bool, no_wait: bool, timeout: Any) -> None:
    """End machines; done once the provider confirms that they are gone."""
    from gpuplane.v1.instance_service_pb2 import TerminateInstanceRequest

    from controlplane.cli.output import print_json
    from controlplane.cli.progress import wait_shown

    with connect() as client:
        found = list(dict.fromkeys(instance_id(client, id) for id in ids))
        operations = [client.instances.TerminateInstance(TerminateInstanceRequest(id=id, force=force)) for id in found]
        if not no_wait:
            seconds = timeout.seconds if timeout else None
            operations = [
                wait_shown(client, operation, title=f"ending {id}", timeout=seconds)
                for operation, id in zip(operations, found, strict=True)
            ]
    if common().json:
        print_json(operations)
        return
    for operation in operations:
        click.echo(
            f"{operation.instance_id} is ending (operation {operation.id})"
            if no_wait
            else f"{operation.instance_id} is gone"
        )
