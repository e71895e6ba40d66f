"""Canonical messages as sessions (seed 001): what an instance does not have is kept in its labels."""

from __future__ import annotations

from urllib.parse import urlsplit

from gpuplane.dialects.shopper.v1 import sessions_pb2 as pb
from gpuplane.v1 import instance_pb2

from controlplane.api.dialects.shared import rfc3339
from controlplane.api.dialects.shopper.translate import CONSUMER, DIALECT, FAILED, HOUR_S, STATES, STATUSES
from controlplane.domain.billing import SECOND
from controlplane.domain.errors import invalid
from controlplane.domain.money import NANO
from controlplane.domain.operation import OPEN, Operation, Outcome
from controlplane.domain.state import TERMINAL, State
from controlplane.usecases.sessions import UNOBTAINABLE
from controlplane.wire.common import micros
from controlplane.wire.instance import state_of

_PREFIX = f"{DIALECT}/"
ANNOUNCED = f"{_PREFIX}announced"
"""The label of a session whose creation was answered with 201."""

NOTE = "Full SSH diagnostics require client-side SSH access."


def label(name: str) -> str:
    """The label under which a fact of a session is kept."""
    return _PREFIX + name


def is_session(message: instance_pb2.Instance) -> bool:
    """Whether an instance exists for this API: made by it, and not one whose creation was refused for good."""
    if CONSUMER not in message.labels:
        return False
    refused = state_shown(message) in TERMINAL and message.state_reason in UNOBTAINABLE
    return ANNOUNCED in message.labels or message.HasField("run_time") or not refused


def state_shown(message: instance_pb2.Instance) -> State:
    """The state of a stored instance, which always has one."""
    state = state_of(message.state)
    assert state is not None, f"{message.id} has no state"
    return state


def states_of(status: str) -> frozenset[State]:
    """The states that a status means: none for `pending`, which nothing is any more once it was answered."""
    if status not in STATUSES:
        raise invalid("status", f"must be one of {', '.join(STATUSES)}", status)
    return frozenset(state for state, word in STATES.items() if word == status)


def session_shown(message: instance_pb2.Instance) -> pb.Session:
    """An instance as a session."""
    facts = {name.removeprefix(_PREFIX): value for name, value in message.labels.items()}
    price, connection, status = message.price_per_hour, message.connection, STATES[state_shown(message)]
    endpoint = connection.model_url.removesuffix("/v1")  # which the vendor's clients append themselves
    shown = pb.Session(
        id=message.id,
        consumer_id=facts["consumer_id"],
        provider=message.provider or facts["provider"],  # before the first attempt: the offer's
        gpu_type=message.gpu_type,
        gpu_count=message.gpu_count,
        status=status,
        error=(message.state_message or message.state_reason) if status == FAILED else None,
        ssh_host=connection.ssh_host,
        ssh_port=connection.ssh_port,
        ssh_user=connection.ssh_user,
        workload_type=facts["workload_type"],
        reservation_hours=_reserved_s(message) // HOUR_S,
        price_per_hour=(price.units * NANO + price.nanos) / NANO,
        disk_gb=message.disk_gb,
        offer_id=facts["offer_id"],
        idle_threshold_minutes=message.idle_timeout.seconds // 60,
        storage_policy=facts["storage_policy"],
        launch_mode=facts["launch_mode"],
        api_endpoint=endpoint,
        api_port=urlsplit(endpoint).port,
        model_id=facts.get("model_id"),
        quantization=facts.get("quantization"),
        docker_image=message.image or None,
        exposed_ports=[int(port) for port in facts.get("exposed_ports", "").split(",") if port],
        template_hash_id=facts.get("template"),
        template_name=facts.get("template_name"),
        auto_retry=True if "auto_retry" in facts else None,
        created_at=rfc3339(micros(message.create_time)),
        expires_at=rfc3339(micros(message.expire_time)),
        simulated=message.simulated or None,
    )
    if message.HasField("end_time"):
        shown.stopped_at = rfc3339(micros(message.end_time))
    return shown


def show_retries(session: pb.Session, create: Operation) -> None:
    """Tell what came of the offers before the last one."""
    session.retry_count = max(0, len(create.attempts) - 1)
    failed = [each.offer_id for each in create.attempts if each.outcome not in (*OPEN, Outcome.CREATED)]
    if failed:
        session.failed_offers.extend(failed)


def diagnostics_shown(message: instance_pb2.Instance, now: int) -> pb.SessionDiagnostics:
    """What is told of a running session; `now` in microseconds."""
    session = session_shown(message)
    return pb.SessionDiagnostics(
        session_id=session.id,
        status=session.status,
        provider=session.provider,
        gpu_type=session.gpu_type,
        gpu_count=session.gpu_count,
        ssh_host=session.ssh_host,
        ssh_port=session.ssh_port,
        ssh_user=session.ssh_user,
        launch_mode=session.launch_mode,
        api_endpoint=session.api_endpoint,
        created_at=session.created_at,
        expires_at=session.expires_at,
        uptime=duration_shown(now - micros(message.create_time)),
        time_to_expiry=duration_shown(micros(message.expire_time) - now),
        ssh_available=bool(session.ssh_host),
        note=NOTE,
    )


def duration_shown(span: int) -> str:
    """A span of microseconds in whole minutes: `1h 30m`, `30m`."""
    hours, minutes = divmod(max(0, span) // (60 * SECOND), 60)
    return f"{hours}h {minutes}m" if hours else f"{minutes}m"


def _reserved_s(message: instance_pb2.Instance) -> int:
    return (micros(message.expire_time) - micros(message.create_time)) // SECOND
