"""Canonical messages and wishes in this API's words (seed 002)."""

from __future__ import annotations

import math
import re

from google.protobuf.timestamp_pb2 import Timestamp
from gpuplane.dialects.hoonify.v1 import instances_pb2 as pb
from gpuplane.v1 import instance_pb2

from controlplane.api.dialects.hoonify.catalog import sku_of
from controlplane.api.dialects.shared import rfc3339
from controlplane.domain.billing import BillingKind, BillingPolicy
from controlplane.domain.errors import invalid
from controlplane.domain.state import State
from controlplane.usecases.idempotency import RequestIdRule
from controlplane.wire.common import micros
from controlplane.wire.instance import state_of

DIALECT = "hoonify"

PROVISIONING, STARTING, READY, DRAINING, TERMINATED, FAILED = (
    "provisioning",
    "starting",
    "ready",
    "draining",
    "terminated",
    "failed",
)

STATES = {
    State.ACCEPTED: PROVISIONING,
    State.ALLOCATING: PROVISIONING,
    State.STARTING: STARTING,
    State.RUNNING: READY,
    State.STOPPING: DRAINING,
    State.STOPPED: TERMINATED,  # by its operator, against the wish: its endpoints are offline
    State.TERMINATED: TERMINATED,
    State.FAILED: FAILED,
}

DEFAULT_IMAGE = "ghcr.io/hoonify/cuda-base:cu128"

IDEMPOTENCY = RequestIdRule(field="X-Hoonify-Idempotency-Key", window_s=300)

HOUR_S = 3600
MAX_HOURS = 168
LEAST_S = 60  # as in the canonical API; shorter ones would end before they are ready

RESERVATION_PERCENT = ((168 * HOUR_S, 59.5), (24 * HOUR_S, 70.0), (0, 100.0))
"""What a reservation costs of the list price, from so many seconds on: 30 % less from 24 h, and from 168 h "another
15 %", of what is left."""

MAX_LIMIT = 1000


def states_of(status: str) -> frozenset[State]:
    """The states that a comma-separated filter means; none for an empty one."""
    words = [word.strip() for word in status.split(",")] if status else []
    for word in words:
        if word not in STATES.values():
            raise invalid("status", f"must be among {', '.join(dict.fromkeys(STATES.values()))}", word)
    return frozenset(state for state, word in STATES.items() if word in words)


def limit_of(limit: int | None) -> int:
    """The size of a page."""
    if limit is not None and not 1 <= limit <= MAX_LIMIT:
        raise invalid("limit", f"must be from 1 to {MAX_LIMIT}", limit)
    return MAX_LIMIT if limit is None else limit


def check_after(id: str) -> str:
    """The id of an instance, or nothing."""
    if id and not re.fullmatch(r"inst_[0-9a-v]{26}", id):
        raise invalid("after", "must be the id of an instance", id)
    return id


def seconds_of(hours: float) -> int:
    """A duration in whole seconds, rounded up."""
    if not (math.isfinite(hours) and 0 < hours <= MAX_HOURS):
        raise invalid("duration_hours", f"must be more than 0 and at most {MAX_HOURS}", hours)
    seconds = math.ceil(round(hours * HOUR_S, 3))  # a third of an hour is 1200 s, whatever its last bit says
    if seconds < LEAST_S:
        raise invalid("duration_hours", f"must be at least {LEAST_S} seconds", hours)
    return seconds


def billing_of(reservation_s: int | None, minimum_s: int) -> BillingPolicy:
    """Per second on demand, and a reservation up front."""
    if reservation_s is None:
        return BillingPolicy(minimum_s=minimum_s)
    percent = next(percent for least, percent in RESERVATION_PERCENT if reservation_s >= least)
    return BillingPolicy(BillingKind.PREPAID, prepaid_s=reservation_s, prepaid_percent=percent)


def free_for(longest_s: int) -> BillingPolicy:
    """The policy of test keys: a whole life prepaid with nothing."""
    return BillingPolicy(BillingKind.PREPAID, prepaid_s=longest_s, prepaid_percent=0.0)


def image_asked(image: str) -> str:
    """The image to ask providers for. The vendor's default means their own: only the vendor can pull it."""
    return "" if image == DEFAULT_IMAGE else image


def instance_shown(message: instance_pb2.Instance) -> pb.Instance:
    """An instance."""
    state = state_of(message.state)
    assert state is not None, f"{message.id} has no state"
    shown = pb.Instance(
        id=message.id,
        object="instance",
        status=STATES[state],
        sku=sku_of(message.gpu_type, message.vram_gb),
        gpus=max(1, message.gpu_count),
        operator_pool=message.region or None,
        image=message.image or DEFAULT_IMAGE,
        labels=message.labels,
        created_at=time_shown(message.create_time),
        simulated=message.simulated or None,
    )
    if message.connection.ssh_host:
        _show_endpoints(shown, message.connection)
    if state is State.FAILED:
        shown.failure_reason = message.state_reason.lower()
        shown.failure_message = message.state_message
    if message.HasField("run_time"):
        shown.ready_at = time_shown(message.run_time)
    if message.HasField("expire_time"):
        shown.expires_at = time_shown(message.expire_time)
        shown.duration_hours = _reserved_hours(message)
    if message.HasField("end_time"):
        shown.terminated_at = time_shown(message.end_time)
    return shown


def _show_endpoints(shown: pb.Instance, connection: instance_pb2.Connection) -> None:
    shown.endpoints.ssh.host = connection.ssh_host
    shown.endpoints.ssh.port = connection.ssh_port
    shown.endpoints.ssh.user = connection.ssh_user
    shown.endpoints.ssh.host_key = connection.ssh_host_key
    shown.endpoints.ssh.command = connection.ssh_command
    if connection.jupyter_url:
        shown.endpoints.jupyter.url = connection.jupyter_url


def _reserved_hours(message: instance_pb2.Instance) -> float:
    """From the beginning of the reservation to its end. One that is prepaid begins when the machine can be used."""
    prepaid = message.billing.kind == instance_pb2.BILLING_KIND_PREPAID
    began = message.run_time if prepaid and message.HasField("run_time") else message.create_time
    seconds = (micros(message.expire_time) - micros(began)) / 1_000_000
    return float(round(seconds / HOUR_S, 6))


def time_shown(at: Timestamp) -> str:
    """A time in whole seconds."""
    return rfc3339(at.seconds * 1_000_000)
