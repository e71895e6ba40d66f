"""Instance between the domain and the canonical API."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration
from gpuplane.v1 import instance_pb2 as pb
from gpuplane.v1 import offer_pb2

from controlplane.domain.instance import Instance
from controlplane.domain.state import State
from controlplane.wire.common import money, number, timestamp

_STATES = {state: number(pb.InstanceState, "INSTANCE_STATE", state) for state in State}
_STATES_BACK = {value: state for state, value in _STATES.items()}
JUPYTER = "jupyter"  # a mode of dialects: to the canonical API it is SSH, with one more address
_MODES = {"ssh": pb.LAUNCH_MODE_SSH, "model": pb.LAUNCH_MODE_MODEL, JUPYTER: pb.LAUNCH_MODE_SSH}
MODES_BACK = {pb.LAUNCH_MODE_UNSPECIFIED: "ssh", pb.LAUNCH_MODE_SSH: "ssh", pb.LAUNCH_MODE_MODEL: "model"}
TIERS = {"on_demand": offer_pb2.TIER_ON_DEMAND, "spot": offer_pb2.TIER_SPOT, "": offer_pb2.TIER_UNSPECIFIED}


def state_number(state: State) -> Any:
    """The enum number of a state."""
    return _STATES[state]


def state_of(value: int) -> State | None:
    """The state of an enum number; None for unspecified and unknown ones."""
    return _STATES_BACK.get(value)


def connection_message(row: Instance) -> pb.Connection:
    """How to reach a running machine, without secrets."""
    jupyter = row.wish.mode == JUPYTER
    return pb.Connection(
        ssh_host=row.ssh_host,
        ssh_port=row.ssh_port,
        ssh_user=row.ssh_user,
        ssh_host_key=row.ssh_host_key,
        ssh_command=f"ssh -p {row.ssh_port} {row.ssh_user}@{row.ssh_host}" if row.ssh_host else "",
        model_url="" if jupyter else row.model_url,
        jupyter_url=row.model_url if jupyter else "",
    )


def instance_message(row: Instance) -> pb.Instance:
    """The canonical message of a row; depends on nothing but the row."""
    message = pb.Instance(
        id=row.id,
        account_id=row.account_id,
        name=row.name,
        labels=row.labels,
        state=_STATES[row.state],
        state_reason=row.state_reason,
        state_message=row.state_message,
        revision=row.revision,
        offer_id=row.offer_id,
        provider=row.provider,
        gpu_type=row.gpu_type,
        gpu_count=row.gpu_count,
        vram_gb=row.vram_gb,
        cpu_count=row.cpu_count,
        memory_gb=row.memory_gb,
        disk_gb=row.disk_gb,
        region=row.region,
        location=row.location,
        tier=TIERS[row.tier],
        price_per_hour=money(row.price_nano_per_hour, row.currency),
        simulated=row.simulated,
        launch_mode=_MODES[row.wish.mode],
        image=row.wish.image,
        model=row.wish.model,
        ssh_key_ids=row.ssh_key_ids,
        create_operation_id=row.create_operation_id,
        create_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
        billing=pb.BillingPolicy(
            kind=number(pb.BillingKind, "BILLING_KIND", row.billing.kind),
            minimum=Duration(seconds=row.billing.minimum_s),
        ),
    )
    if row.state is State.RUNNING:
        message.connection.CopyFrom(connection_message(row))
    if row.run_at is not None:
        message.run_time.CopyFrom(timestamp(row.run_at))
    if row.end_at is not None:
        message.end_time.CopyFrom(timestamp(row.end_at))
    if row.gone_at is not None:
        message.gone_time.CopyFrom(timestamp(row.gone_at))
    if row.expire_at is not None:
        message.expire_time.CopyFrom(timestamp(row.expire_at))
    if row.hard_expire_at is not None:
        message.hard_expire_time.CopyFrom(timestamp(row.hard_expire_at))
    if row.provider_expire_at is not None:
        message.provider_expire_time.CopyFrom(timestamp(row.provider_expire_at))
    if row.idle_timeout_s:
        message.idle_timeout.CopyFrom(Duration(seconds=row.idle_timeout_s))
    return message
