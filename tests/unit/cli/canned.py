"""Answers that look like the real server's."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money
from gpuplane.v1 import instance_pb2, offer_pb2, operation_pb2
from gpuplane.v1.instance_pb2 import Connection, Instance
from gpuplane.v1.offer_pb2 import Offer
from gpuplane.v1.operation_pb2 import Attempt, Operation, OperationError, OperationStep

ID = "inst_" + "0" * 25 + "a"
OTHER_ID = "inst_" + "0" * 25 + "b"
OP = "019a0000-0000-7000-8000-000000000001"
BEGAN = Timestamp(seconds=1_763_800_000)
ENDED = Timestamp(seconds=1_763_800_002, nanos=500_000_000)
PRICE = Money(currency_code="USD", nanos=450_000_000)

CONNECTION = Connection(
    ssh_host="127.0.0.1",
    ssh_port=4022,
    ssh_user="root",
    ssh_host_key="ssh-ed25519 AAAAhostkey",
    ssh_command="ssh -p 4022 root@127.0.0.1",
)


def instance(id: str = ID, name: str = "trainer", *, state: int = instance_pb2.INSTANCE_STATE_RUNNING) -> Instance:
    made = Instance(
        id=id,
        name=name,
        state=state,  # type: ignore[arg-type]
        gpu_type="RTX 4090",
        gpu_count=1,
        provider="local",
        simulated=True,
        price_per_hour=PRICE,
        create_time=BEGAN,
    )
    if state == instance_pb2.INSTANCE_STATE_RUNNING:
        made.connection.CopyFrom(CONNECTION)
    if state >= instance_pb2.INSTANCE_STATE_TERMINATED:
        made.end_time.CopyFrom(ENDED)
    return made


def operation(state: int = operation_pb2.OPERATION_STATE_SUCCEEDED, *, reason: str = "") -> Operation:
    made = Operation(
        id=OP,
        kind=operation_pb2.OPERATION_KIND_CREATE_INSTANCE,
        state=state,  # type: ignore[arg-type]
        instance_id=ID,
        create_time=BEGAN,
        steps=[OperationStep(name="allocate", start_time=BEGAN, end_time=ENDED)],
        attempts=[
            Attempt(
                number=1,
                offer_id="vastai-1",
                price_per_hour=PRICE,
                outcome=operation_pb2.ATTEMPT_OUTCOME_STOCKOUT,
                message="somebody was faster",
                start_time=BEGAN,
                end_time=ENDED,
            ),
            Attempt(number=2, offer_id="vastai-2", price_per_hour=PRICE, start_time=BEGAN),
        ],
    )
    if state >= operation_pb2.OPERATION_STATE_SUCCEEDED:
        made.done_time.CopyFrom(ENDED)
    if reason:
        made.error.CopyFrom(OperationError(code=8, reason=reason, message="every offer was tried"))
    return made


def offer(id: str = "local-a100-sxm4-80gb-8x-apac-on-demand", *, simulated: bool = True) -> Offer:
    return Offer(
        id=id,
        provider="local",
        gpu_type="A100 SXM4 80GB",
        gpu_count=8,
        vram_gb=80,
        cpu_count=240,
        memory_gb=1600,
        region="apac",
        tier=offer_pb2.TIER_SPOT,
        price_per_hour=Money(currency_code="USD", units=14, nanos=65_600_000),
        available=64,
        simulated=simulated,
    )
