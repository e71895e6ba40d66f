"""CreateInstanceRequest as the use-cases take it, and what became of several of them."""

from __future__ import annotations

from typing import Any

from gpuplane.v1 import instance_service_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.canonical.shapes import Plane, currency_of, request_key
from controlplane.api.errors import code_of
from controlplane.domain.errors import PlaneError, invalid
from controlplane.usecases import batches
from controlplane.usecases.core import Core
from controlplane.usecases.wishes import CreateInstance
from controlplane.wire.common import nano_of, seconds_of
from controlplane.wire.instance import MODES_BACK
from controlplane.wire.offer import requirements_of
from controlplane.wire.operation import operation_message

LEAST_S = 60  # of reservations, extensions, idle timeouts


async def wish_of(core: Core, request: pb.CreateInstanceRequest, call: Call) -> CreateInstance:
    """The wish; InvalidArgument for what cannot be translated."""
    priced = request.HasField("max_price_per_hour") or request.HasField("requirements")
    currency = await currency_of(core, call.principal) if priced else ""
    if request.launch_mode not in MODES_BACK:
        raise invalid("launch_mode", "must be LAUNCH_MODE_SSH or LAUNCH_MODE_MODEL", request.launch_mode)
    return CreateInstance(
        offer_id=request.offer_id,
        requirements=requirements_of(request.requirements, currency) if request.HasField("requirements") else None,
        max_price_nano_per_hour=(
            nano_of(request.max_price_per_hour, "max_price_per_hour", currency)
            if request.HasField("max_price_per_hour")
            else None
        ),
        name=request.name,
        labels=dict(request.labels),
        ssh_key_ids=tuple(request.ssh_key_ids),
        ssh_public_keys=tuple(request.ssh_public_keys),
        image=request.image,
        disk_gb=request.disk_gb,
        mode=MODES_BACK[request.launch_mode],
        model=request.model,
        quantization=request.quantization,
        env=dict(request.env),
        template=request.template_id,
        on_start=request.on_start,
        ports=tuple(request.ports),
        max_retries=request.max_retries if request.HasField("max_retries") else None,
        reservation_s=seconds(core, request, "reservation"),
        max_duration_s=seconds(core, request, "max_duration"),
        idle_timeout_s=seconds(core, request, "idle_timeout") or 0,
        preserve=request.preserve_disk,
    )


def seconds(core: Core, request: Any, field: str) -> int | None:
    """Whole seconds of an optional duration, from a minute to the deployment's maximum."""
    if not request.HasField(field):
        return None
    return seconds_of(getattr(request, field), field, LEAST_S, core.policy.max_duration_s)


async def create_batch(
    plane: Plane, request: pb.BatchCreateInstancesRequest, call: Call
) -> pb.BatchCreateInstancesResponse:
    """Accept several wishes, each by itself."""
    if not 1 <= len(request.requests) <= batches.MOST:
        raise invalid("requests", f"must have 1 to {batches.MOST} entries", len(request.requests))
    wishes: list[CreateInstance | PlaneError] = []
    for index, each in enumerate(request.requests):
        _check_unnamed(each, f"requests[{index}]")
        try:
            wishes.append(await wish_of(plane.core, each, call))
        except PlaneError as error:
            wishes.append(error)
    results = await batches.create_each(plane.core, call.principal, wishes, request_key(request, call))
    return pb.BatchCreateInstancesResponse(results=map(_result, results))


async def reserve(plane: Plane, request: pb.ReserveInstancesRequest, call: Call) -> pb.ReserveInstancesResponse:
    """Accept one wish several times."""
    if not 1 <= request.count <= batches.MOST:
        raise invalid("count", f"must be from 1 to {batches.MOST}", request.count)
    if not 0 <= request.min_count <= request.count:
        raise invalid("min_count", f"must be from 1 to {request.count}, or 0 for 1", request.min_count)
    _check_unnamed(request.create, "create")
    wish = await wish_of(plane.core, request.create, call)
    results = await batches.reserve(
        plane.core, call.principal, wish, request.count, request.min_count or 1, request_key(request, call)
    )
    return pb.ReserveInstancesResponse(results=map(_result, results))


def _check_unnamed(request: pb.CreateInstanceRequest, field: str) -> None:
    if request.request_id:
        raise invalid(f"{field}.request_id", "must be empty: the call's own names them all", request.request_id)


def _result(result: batches.Result) -> pb.CreateResult:
    if not isinstance(result, PlaneError):
        return pb.CreateResult(operation=operation_message(result))
    return pb.CreateResult(
        error=pb.CreateError(
            code=code_of(result).value[0],
            reason=result.reason,
            message=result.message,
            field=result.metadata.get("field", ""),
        )
    )
