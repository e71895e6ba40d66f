"""STARTING: the machine exists; wait until somebody can use it."""

from __future__ import annotations

from controlplane.domain.billing import SECOND
from controlplane.domain.instance import Instance
from controlplane.domain.operation import OperationState, Outcome
from controlplane.domain.records import replace
from controlplane.domain.state import State
from controlplane.ports.meter import Count, Timing
from controlplane.ports.probe import ProbeResult
from controlplane.ports.provider import Machine, MachineStatus, SshEndpoint
from controlplane.reconcile import endings
from controlplane.reconcile.allocate import LOST
from controlplane.reconcile.asking import ask, provider_of
from controlplane.reconcile.looks import next_look
from controlplane.reconcile.posting import post
from controlplane.reconcile.tenure import Rows, Tenure
from controlplane.usecases.core import Core
from controlplane.usecases.machine_secrets import jupyter_token, model_key, probe_seed

PROBE_S = 10.0


async def start(tenure: Tenure, instance: Instance) -> None:
    """Look once; RUNNING when the probe key could log in (and the model or Jupyter answered)."""
    core = tenure.core
    if instance.ending:
        await tenure.apply(endings.stopping, due_in_s=0)
        return
    provider = provider_of(core, instance)
    machine = await ask(core, provider, "describe", provider.describe(instance.machine_id))
    if machine.status in LOST:
        await tenure.apply(lambda rows: lost(rows, core, machine), due_in_s=0)
        return
    ready = await _probe(core, instance, machine)
    if ready.ready and machine.ssh is not None:
        next_s = next_look(core.policy, provider.capabilities.steady_poll_s)
        running = await tenure.apply(lambda rows: _running(rows, core, machine, ready), due_in_s=next_s)
        _measure(core, running)
        return

    def not_yet(rows: Rows) -> None:
        row = replace(rows.instance, seen_at=rows.now)
        # The first host key met is the one that must answer until the end.
        rows.instance = replace(row, ssh_host_key=row.ssh_host_key or ready.host_key)
        if row.start_deadline_at is not None and rows.now >= row.start_deadline_at:
            message = f"the machine was not usable in time: {ready.reason or machine.message or machine.status}"
            if rows.create is not None:
                rows.create = rows.create.outcome(row.attempt, Outcome.NOT_READY, message, rows.now)
            endings.fail(rows, core.policy, endings.DEADLINE_EXCEEDED, "START_TIMEOUT", message)

    after = await tenure.apply(not_yet, due_in_s=provider.capabilities.transition_poll_s)
    if after.state is State.FAILED:
        core.meter.count(Count.SSH_VERIFY_FAILURES)


def _measure(core: Core, running: Instance) -> None:
    if running.run_at is not None and running.machine_at is not None:
        core.meter.observe(Timing.SSH_VERIFY, (running.run_at - running.machine_at) / SECOND)
        core.meter.observe(Timing.PROVISIONING, (running.run_at - running.created_at) / SECOND, running.provider)


async def _probe(core: Core, instance: Instance, machine: Machine) -> ProbeResult:
    if machine.ssh is None:
        return ProbeResult(False, reason=machine.message or f"the machine is {machine.status}")
    known = machine.ssh.host_key or instance.ssh_host_key
    endpoint = SshEndpoint(machine.ssh.host, machine.ssh.port, machine.ssh.user, known)
    ssh = await core.prober.probe(endpoint, probe_seed(core.secrets, instance.id), PROBE_S)
    if not ssh.ready:
        return ssh
    if instance.wish.model:
        service = await core.prober.model_health(machine.model_url, model_key(core.secrets, instance.id), PROBE_S)
    elif machine.jupyter_url:
        token = jupyter_token(core.secrets, instance.id)
        service = await core.prober.jupyter_health(machine.jupyter_url, token, PROBE_S)
    else:
        return ssh
    return replace(ssh, ready=service.ready, reason=service.reason)


def _running(rows: Rows, core: Core, machine: Machine, ready: ProbeResult) -> None:
    if rows.instance.ending:
        endings.stopping(rows)
        return
    assert machine.ssh is not None
    rows.instance = replace(
        rows.instance.to(State.RUNNING, rows.now).reservation_begun(),
        ssh_host=machine.ssh.host, ssh_port=machine.ssh.port, ssh_user=machine.ssh.user,
        ssh_host_key=ready.host_key or machine.ssh.host_key, model_url=machine.model_url or machine.jupyter_url,
        seen_at=rows.now,
    )  # fmt: skip
    if rows.create is not None:
        rows.create = rows.create.enter("ready", rows.now).finish(OperationState.SUCCEEDED, rows.now)
    post(rows, core.policy)


def lost(rows: Rows, core: Core, machine: Machine) -> None:
    """The provider lost the machine, took it back, or reports that it broke."""
    reason = "PREEMPTED" if machine.status is MachineStatus.PREEMPTED else "MACHINE_LOST"
    message = {
        MachineStatus.GONE: "the machine is gone at the provider",
        MachineStatus.PREEMPTED: "the provider took the machine back",
    }.get(machine.status, f"the machine failed at the provider: {machine.message or 'no reason given'}")
    endings.fail(rows, core.policy, endings.UNAVAILABLE, reason, message, gone=machine.status is MachineStatus.GONE)
