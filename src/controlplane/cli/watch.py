"""`gpuplane instances watch`: changes as they happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from controlplane.cli.base import ApiCommand, common, connect
from controlplane.cli.find import INSTANCE, instance_id

if TYPE_CHECKING:
    from gpuplane.v1.watch_pb2 import InstanceEvent


@click.command(cls=ApiCommand)
@click.argument("id", type=INSTANCE, required=False)
@click.option("--resume", default="", metavar="TOKEN", help="Go on right after the event that had this resume_token.")
def watch(id: str | None, resume: str) -> None:
    """Stream changes of one machine until its end, or of all for ever.

    With -o json each line is one event. Cut connections and server restarts are bridged; nothing is missed.
    """
    from controlplane.cli.output import print_json_line

    with connect() as client:
        events = client.watch_instance(instance_id(client, id), resume) if id else client.watch_instances(resume)
        for event in events:
            print_json_line(event) if common().json else click.echo(line(event))


def line(event: InstanceEvent) -> str:
    """One event as one line."""
    from datetime import UTC, datetime

    from gpuplane.v1.instance_pb2 import InstanceState

    from controlplane.cli.output import word
    from controlplane.cli.show import gpu, provider, state_of
    from controlplane.cli.values import format_money, to_datetime

    moment = to_datetime(event.event_time) if event.event_time.seconds else datetime.now(UTC)
    if event.HasField("budget_alert"):
        alert = event.budget_alert
        spent = f"{format_money(alert.spent)} of {format_money(alert.limit)}"
        return f"{moment:%H:%M:%S}  {alert.budget_id}  passed {alert.threshold_percent} %: {spent} spent"
    instance = event.instance
    state = state_of(instance)
    if event.previous_state and event.previous_state != instance.state:
        state = f"{word(InstanceState, event.previous_state)} → {state}"
    what = [gpu(instance.gpu_type, instance.gpu_count), provider(instance.provider, instance.simulated)]
    notes = [
        instance.name,
        *what,
        instance.state_reason,
        "(earlier changes left out)" if event.coalesced else "",
    ]
    return f"{moment:%H:%M:%S}  {instance.id}  {state:<22}  {'  '.join(filter(None, notes))}".rstrip()
