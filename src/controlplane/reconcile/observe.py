"""RUNNING and STOPPED: charge it, watch its lease, its use and its budget, and see that it is still there."""

from __future__ import annotations

import contextlib

from controlplane.domain.billing import SECOND
from controlplane.domain.instance import Instance
from controlplane.domain.records import replace
from controlplane.domain.state import State
from controlplane.ports.provider import Machine, MachineStatus, ProviderError, Utilisation
from controlplane.reconcile import endings
from controlplane.reconcile.allocate import LOST
from controlplane.reconcile.asking import ask, provider_of
from controlplane.reconcile.lease import end_if_over
from controlplane.reconcile.looks import next_look
from controlplane.reconcile.posting import post
from controlplane.reconcile.start import lost
from controlplane.reconcile.tenure import Rows, Tenure
from controlplane.usecases.core import Core, Policy


async def observe(tenure: Tenure, instance: Instance) -> None:
    """Look once. Leases and bills do not wait for a provider that cannot be asked."""
    core = tenure.core
    if instance.ending:
        await tenure.apply(lambda rows: _end(rows, core.policy), due_in_s=0)
        return
    provider = provider_of(core, instance)
    machine: Machine | None = None
    with contextlib.suppress(ProviderError):  # the sweep and the provider's metrics tell; the lease goes on
        machine = await ask(core, provider, "describe", provider.describe(instance.machine_id))

    def findings(rows: Rows) -> None:
        if machine is not None:
            _seen(rows, core, machine)
        if rows.instance.state in (State.RUNNING, State.STOPPED):
            post(rows, core.policy)
            end_if_over(rows)
        if rows.instance.ending and rows.instance.state in (State.RUNNING, State.STOPPED):
            endings.stopping(rows)

    pause = provider.capabilities.steady_poll_s
    await tenure.apply(findings, due_in_s=next_look(core.policy, pause), failed=machine is None)


def _end(rows: Rows, policy: Policy) -> None:
    post(rows, policy)
    endings.stopping(rows)


def _seen(rows: Rows, core: Core, machine: Machine) -> None:
    row = replace(rows.instance, seen_at=rows.now, missing_since=None)
    rows.instance = row
    if machine.status in LOST:
        lost(rows, core, machine)
    elif machine.status is MachineStatus.STOPPED and row.state is State.RUNNING:
        rows.instance = row.to(State.STOPPED, rows.now, "STOPPED_BY_PROVIDER", "the provider stopped the machine")
    elif machine.status is MachineStatus.RUNNING and row.state is State.STOPPED:
        rows.instance = row.to(State.RUNNING, rows.now)
    elif row.idle_timeout_s:
        _check_idle(rows, core.policy, machine.utilisation)


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
