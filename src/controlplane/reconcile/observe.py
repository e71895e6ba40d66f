"""RUNNING and STOPPED: charge it, watch its lease, its use and its budget, and see that it is still there."""

from __future__ import annotations

import contextlib

from controlplane.domain.billing import SECOND
from controlplane.domain.instance import Instance
from controlplane.domain.records import replace
from controlplane.domain.state import State
from controlplane.ports.provider import Machine, MachineStatus, Provider, ProviderError, Utilisation
from controlplane.reconcile import endings
from controlplane.reconcile.asking import look
from controlplane.reconcile.lease import end_if_over
from controlplane.reconcile.looks import next_look
from controlplane.reconcile.metering import metered
from controlplane.reconcile.posting import post
from controlplane.reconcile.start import is_lost, lost
from controlplane.reconcile.tenure import Rows, Tenure
from controlplane.usecases.asking import ask, provider_of
from controlplane.usecases.core import Core, Policy

PAY_AHEAD_S = 600  # before the end of what is paid; leaves many looks for answers that are lost


async def observe(tenure: Tenure, instance: Instance) -> None:
    """Look once. Leases and bills do not wait for a provider that cannot be asked."""
    core = tenure.core
    if instance.ending:
        await tenure.apply(lambda rows: _end(rows, core.policy), due_in_s=0)
        return
    machine: Machine | None = None
    paid_s, pause = 0, core.policy.meter_interval_s
    with contextlib.suppress(ProviderError):  # the sweep and the provider's metrics tell; the lease goes on
        provider = provider_of(core, instance)
        pause = provider.capabilities.steady_poll_s
        machine = await look(core, provider, instance)
        paid_s = await _pay_on(tenure, provider, instance, machine)

    def findings(rows: Rows) -> None:
        if machine is not None:
            _seen(rows, core, machine)
            _paid(rows, paid_s)
        if rows.instance.state in (State.RUNNING, State.STOPPED):
            post(rows, core.policy)
            end_if_over(rows)
        if rows.instance.ending and rows.instance.state in (State.RUNNING, State.STOPPED):
            endings.stopping(rows)

    await tenure.apply(findings, due_in_s=next_look(core.policy, pause), failed=machine is None)


async def _pay_on(tenure: Tenure, provider: Provider, instance: Instance, machine: Machine) -> int:
    """Pay for the next unit of a machine that is paid in advance, if its life goes on past what is paid. For how many
    seconds.

    That it is about to be paid is recorded before. An answer that is lost is asked for again only when it would show.
    """
    core, meter = tenure.core, instance.meter
    if not provider.capabilities.extend or meter is None or meter.paid_until is None:
        return 0
    paid_until = max(meter.paid_until, machine.paid_until or 0)
    ends = [at for at in (instance.expire_at, instance.hard_expire_at) if at is not None]
    if machine.status is not MachineStatus.RUNNING or min(ends, default=paid_until + 1) <= paid_until:
        return 0
    if core.clock.now() < paid_until - PAY_AHEAD_S * SECOND:
        return 0
    capabilities = provider.capabilities
    shows_s = capabilities.call_timeout_s + capabilities.late_create_s + capabilities.listing_delay_s
    if meter.asked_at is not None and core.clock.now() < meter.asked_at + shows_s * SECOND:
        return 0
    if (await tenure.apply(_paying)).ending:
        return 0
    await ask(core, provider, "extend", provider.extend(instance.machine_id, meter.prepaid_s))
    return meter.prepaid_s


def _paying(rows: Rows) -> None:
    if rows.instance.meter is not None and not rows.instance.ending:
        rows.instance = replace(rows.instance, meter=replace(rows.instance.meter, asked_at=rows.now))


def _paid(rows: Rows, seconds: int) -> None:
    row = rows.instance
    if not seconds or row.meter is None:
        return
    expire = None if row.provider_expire_at is None else row.provider_expire_at + seconds * SECOND
    rows.instance = replace(row, meter=row.meter.extended(seconds), provider_expire_at=expire)


def _end(rows: Rows, policy: Policy) -> None:
    post(rows, policy)
    endings.stopping(rows)


def _seen(rows: Rows, core: Core, machine: Machine) -> None:
    metered(rows, machine)
    row = _moved(replace(rows.instance, seen_at=rows.now, missing_since=None), machine)
    rows.instance = row
    if is_lost(row, machine):
        lost(rows, core, machine)
    elif row.kept is not None:
        if machine.status is MachineStatus.RUNNING:
            rows.instance = row.ask_to_end(row.state_reason, "it had ended when its machine was started", rows.now)
    elif machine.status is MachineStatus.STOPPED and row.state is State.RUNNING:
        rows.instance = row.to(State.STOPPED, rows.now, "STOPPED_BY_PROVIDER", "the provider stopped the machine")
    elif machine.status is MachineStatus.RUNNING and row.state is State.STOPPED:
        rows.instance = row.to(State.RUNNING, rows.now)
    elif row.idle_timeout_s:
        _check_idle(rows, core.policy, machine.utilisation)


def _moved(row: Instance, machine: Machine) -> Instance:
    """With the addresses where the provider now says the machine is. The way in that was used stays while it is one."""
    if machine.status is not MachineStatus.RUNNING:
        return row
    if machine.model_url:
        row = replace(row, model_url=machine.model_url)
    ways = [way for way in (machine.ssh, *machine.ssh_also) if way is not None]
    if not ways:
        return row
    if any((way.host, way.port, way.user) == (row.ssh_host, row.ssh_port, row.ssh_user) for way in ways):
        return row
    return replace(row, ssh_host=ways[0].host, ssh_port=ways[0].port, ssh_user=ways[0].user)


def _check_idle(rows: Rows, policy: Policy, use: Utilisation | None) -> None:
    row = rows.instance
    if not idle(policy, use):
        rows.instance = replace(row, idle_since=None)
        return
    since = row.idle_since if row.idle_since is not None else rows.now
    rows.instance = replace(row, idle_since=since)
    if rows.now - since >= row.idle_timeout_s * SECOND:
        rows.instance = rows.instance.ask_to_end("IDLE", f"idle for {row.idle_timeout_s} s", rows.now)


def idle(policy: Policy, use: Utilisation | None) -> bool:
    """Whether the provider's own signal says that nobody uses the machine. No signal: not idle."""
    if use is None or (use.cpu_percent is None and use.gpu_percent is None and use.ssh_sessions is None):
        return False
    return (
        not use.ssh_sessions
        and (use.cpu_percent or 0.0) < policy.idle_cpu_percent
        and (use.gpu_percent or 0.0) < policy.idle_gpu_percent
    )
