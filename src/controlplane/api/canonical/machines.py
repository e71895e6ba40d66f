"""What can be told about the machine behind an instance, asking its provider where needed."""

from __future__ import annotations

import asyncio

import structlog
from gpuplane.v1 import instance_pb2
from gpuplane.v1 import instance_service_pb2 as pb

from controlplane.domain.errors import FailedPrecondition, Unavailable
from controlplane.domain.instance import Instance
from controlplane.domain.state import State
from controlplane.ports.provider import Machine, Provider, ProviderError
from controlplane.usecases.core import Core
from controlplane.usecases.machine_secrets import jupyter_token, model_key
from controlplane.wire.common import timestamp
from controlplane.wire.instance import connection_message, state_number


def connection(core: Core, row: Instance) -> instance_pb2.Connection:
    """How to reach a running machine, secrets included."""
    if row.state is not State.RUNNING:
        raise _conflict(row, f"instance {row.id} is {row.state}, not RUNNING")
    message = connection_message(row)
    if row.wish.model:
        message.model_api_key = model_key(core.secrets, row.id)
    if message.jupyter_url:
        message.jupyter_token = jupyter_token(core.secrets, row.id)
    return message


async def diagnostics(core: Core, row: Instance) -> pb.Diagnostics:
    """What is known, and what the provider says now. A provider that cannot be asked is `unknown`, no error."""
    message = pb.Diagnostics(
        instance_id=row.id, state=state_number(row.state), provider_status="gone" if row.gone_at else "unknown"
    )
    if row.idle_since is not None:
        message.idle_since.CopyFrom(timestamp(row.idle_since))
    if row.seen_at is not None:
        message.last_seen_time.CopyFrom(timestamp(row.seen_at))
    machine = await _describe(core, row)
    if machine is not None:
        message.provider_status = machine.status.value
        message.provider_message = machine.message
        message.last_seen_time.CopyFrom(timestamp(core.clock.now()))
        use = machine.utilisation
        if use is not None:
            if use.ssh_sessions is not None:
                message.ssh_sessions = use.ssh_sessions
            if use.cpu_percent is not None:
                message.cpu_percent = use.cpu_percent
            if use.gpu_percent is not None:
                message.gpu_percent = use.gpu_percent
    return message


async def _describe(core: Core, row: Instance) -> Machine | None:
    provider = core.providers.get(row.provider)
    if provider is None or not row.machine_id or row.gone_at is not None:
        return None
    try:
        async with asyncio.timeout(provider.capabilities.call_timeout_s):
            return await provider.describe(row.machine_id)
    except (ProviderError, TimeoutError) as error:
        _log(provider, "describe", error)
        return None


async def logs(core: Core, row: Instance, tail: int) -> str:
    """The end of the machine's own log."""
    if not row.machine_id or row.gone_at is not None:
        raise _conflict(row, f"instance {row.id} has no machine now")
    provider = core.providers.get(row.provider)
    if provider is None:
        raise _unavailable(row.provider)
    if not provider.capabilities.logs:
        raise _conflict(row, f"provider {row.provider} keeps no logs")
    try:
        async with asyncio.timeout(provider.capabilities.call_timeout_s):
            return await provider.logs(row.machine_id, tail=tail)
    except (ProviderError, TimeoutError) as error:
        _log(provider, "logs", error)
        raise _unavailable(row.provider) from None


def _log(provider: Provider, operation: str, error: Exception) -> None:
    structlog.get_logger().info("provider.not_asked", provider=provider.name, operation=operation, error=str(error))


def _conflict(row: Instance, message: str) -> FailedPrecondition:
    return FailedPrecondition(message, resource="instance", id=row.id, state=row.state)


def _unavailable(provider: str) -> Unavailable:
    return Unavailable(
        f"provider {provider} could not be asked; try again",
        reason="PROVIDER_UNAVAILABLE",
        provider=provider,
    )
