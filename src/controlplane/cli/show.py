"""How instances and operations look: as rows, in detail, as lines of progress."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
from gpuplane.v1.instance_pb2 import INSTANCE_STATE_RUNNING, Instance, InstanceState, LaunchMode
from gpuplane.v1.offer_pb2 import Tier
from gpuplane.v1.operation_pb2 import Attempt, AttemptOutcome, Operation, OperationKind, OperationState

from controlplane.cli.output import print_details, print_table, word
from controlplane.cli.values import format_age, format_duration, format_hourly, format_time, to_datetime

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

INSTANCE_HEADINGS = ("ID", "NAME", "STATE", "GPU", "PRICE", "AGE", "PROVIDER")


def gpu(gpu_type: str, count: int) -> str:
    """`8x H100`, or `cpu`."""
    return f"{count}x {gpu_type}" if count else (gpu_type or "-")


def state_of(instance: Instance) -> str:
    return word(InstanceState, instance.state)


def instance_row(instance: Instance) -> tuple[str, ...]:
    return (
        instance.id,
        instance.name,
        state_of(instance),
        gpu(instance.gpu_type, instance.gpu_count),
        format_hourly(instance.price_per_hour) if instance.HasField("price_per_hour") else "-",
        format_age(instance.create_time),
        provider(instance.provider, instance.simulated),
    )


def provider(name: str, simulated: bool) -> str:
    """The provider, with the warning that must never be missing."""
    return f"{name} simulated".strip() if simulated else name


def instance_details(instance: Instance) -> None:
    connection = instance.connection
    print_details(
        [
            ("id", instance.id),
            ("name", instance.name),
            ("state", state_of(instance)),
            ("reason", ": ".join(filter(None, [instance.state_reason, instance.state_message]))),
            ("gpu", gpu(instance.gpu_type, instance.gpu_count)),
            ("hardware", _hardware(instance)),
            ("simulated", "simulated hardware" if instance.simulated else ""),
            ("provider", " ".join(filter(None, [instance.provider, instance.region, instance.location]))),
            ("offer", instance.offer_id),
            ("tier", word(Tier, instance.tier) if instance.tier else ""),
            ("price", format_hourly(instance.price_per_hour) if instance.HasField("price_per_hour") else ""),
            ("mode", _mode(instance)),
            ("ssh", connection.ssh_command),
            ("model url", connection.model_url),
            ("labels", ", ".join(f"{key}={value}" for key, value in sorted(instance.labels.items()))),
            ("created", format_time(instance.create_time)),
            ("running since", format_time(instance.run_time)),
            ("ends", format_time(instance.expire_time)),
            ("at the latest", format_time(instance.hard_expire_time)),
            (
                "idle limit",
                format_duration(instance.idle_timeout.seconds) if instance.idle_timeout.seconds else "",
            ),
            ("ended", format_time(instance.end_time)),
            ("machine gone", format_time(instance.gone_time)),
            ("operation", instance.create_operation_id),
        ]
    )


def ready_lines(instance: Instance) -> None:
    """What somebody who just rented a machine wants to do next."""
    name = f" ({instance.name})" if instance.name else ""
    what = gpu(instance.gpu_type, instance.gpu_count) + (", simulated" if instance.simulated else "")
    click.echo(f"{instance.id}{name} is {state_of(instance)}: {what}, {format_hourly(instance.price_per_hour)}")
    if instance.state == INSTANCE_STATE_RUNNING:
        if instance.connection.ssh_host:
            click.echo(f"  log in:     gpuplane instances ssh {instance.name or instance.id}")
            click.echo(f"  plain ssh:  {instance.connection.ssh_command}")
        if instance.connection.model_url:
            click.echo(f"  model:      {instance.connection.model_url}")
            click.echo(f"  its key:    gpuplane instances connection {instance.name or instance.id}")
    click.echo(f"  end it:     gpuplane instances terminate {instance.name or instance.id}")


def operation_details(operation: Operation) -> None:
    error = operation.error
    print_details(
        [
            ("id", operation.id),
            ("kind", word(OperationKind, operation.kind)),
            ("state", word(OperationState, operation.state)),
            ("error", ": ".join(filter(None, [error.reason, error.message]))),
            ("instance", operation.instance_id),
            ("created", format_time(operation.create_time)),
            ("done", format_time(operation.done_time)),
            ("cancel", "requested" if operation.cancel_requested else ""),
            ("request id", operation.request_id),
        ]
    )
    if operation.steps:
        click.echo()
        rows = [
            (step.name, format_time(step.start_time), _took(step.start_time, step.end_time)) for step in operation.steps
        ]
        print_table(("STEP", "BEGAN", "TOOK"), rows, keep=("STEP", "BEGAN", "TOOK"))
    if operation.attempts:
        click.echo()
        print_attempts(operation)


def print_attempts(operation: Operation) -> None:
    rows = [
        (str(a.number), a.offer_id, format_hourly(a.price_per_hour), outcome(a), a.message) for a in operation.attempts
    ]
    headings = ("#", "OFFER", "PRICE", "OUTCOME", "MESSAGE")
    print_table(headings, rows, keep=("#", "PRICE", "OUTCOME"), fold=("OFFER", "MESSAGE"))


def outcome(attempt: Attempt) -> str:
    return word(AttemptOutcome, attempt.outcome) if attempt.outcome else "under way"


def progress_lines(operation: Operation) -> Iterator[str]:
    """What has happened so far, one line each; a line, once yielded, is yielded the same for ever."""
    for attempt in operation.attempts:
        line = f"attempt {attempt.number}: {attempt.offer_id} at {format_hourly(attempt.price_per_hour)}"
        if attempt.HasField("end_time"):
            yield f"{line}: {outcome(attempt)}{f' ({attempt.message})' if attempt.message else ''}"
    for step in operation.steps:
        if step.HasField("end_time"):
            yield f"{step.name}: done in {_took(step.start_time, step.end_time)}"


def current_step(operation: Operation) -> str:
    """What goes on right now."""
    running = [attempt for attempt in operation.attempts if not attempt.HasField("end_time")]
    step = next((step.name for step in operation.steps if not step.HasField("end_time")), "")
    what = step or word(OperationState, operation.state)
    if running:
        return f"{what}: attempt {running[-1].number}, {running[-1].offer_id}"
    return what


def _took(start: Timestamp, end: Timestamp) -> str:
    if not end.seconds:
        return "under way"
    return f"{(to_datetime(end) - to_datetime(start)).total_seconds():.1f} s"


def _mode(instance: Instance) -> str:
    return f"{word(LaunchMode, instance.launch_mode)} {instance.model}".strip() if instance.launch_mode else ""


def _hardware(instance: Instance) -> str:
    parts = [
        f"{instance.vram_gb} GB per GPU" if instance.vram_gb else "",
        f"{instance.cpu_count} CPUs" if instance.cpu_count else "",
        f"{instance.memory_gb} GB memory" if instance.memory_gb else "",
        f"{instance.disk_gb} GB disk" if instance.disk_gb else "",
    ]
    return ", ".join(filter(None, parts))
