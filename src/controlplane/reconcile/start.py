"""STARTING: the machine exists; wait until somebody can use it."""

from __future__ import annotations

from controlplane.domain.billing import SECOND
from controlplane.domain.instance import Instance
from controlplane.domain.operation import OperationState, Outcome
from controlplane.domain.records import replace
from controlplane.domain.state import State
from controlplane.ports.meter import Count, Timing
from controlplane.ports.probe import ProbeResult
from controlplane.ports.provider import LOST, Machine, MachineStatus, Provider, ProviderError, SshEndpoint
from controlplane.reconcile import endings
from controlplane.reconcile.allocate import note_failure
from controlplane.reconcile.asking import look
from controlplane.reconcile.looks import next_look
from controlplane.reconcile.metering import metered
from controlplane.reconcile.posting import post
from controlplane.reconcile.tenure import Findings, Rows, Tenure
from controlplane.usecases.asking import provider_of
from controlplane.usecases.core import Core
from controlplane.usecases.machine_secrets import jupyter_token, model_key, probe_seed

PROBE_S = 10.0


async def start(tenure: Tenure, instance: Instance) -> None:
    """Look once; RUNNING when the probe key could log in (and the model or Jupyter answered), or when the service of a
    machine without SSH answered."""
    core = tenure.core
    if instance.ending:
        await tenure.apply(endings.stopping, due_in_s=0)
        return
    provider = provider_of(core, instance)
    try:
        machine = await look(core, provider, instance)
    except ProviderError:
        if instance.start_deadline_at is None or core.clock.now() < instance.start_deadline_at:
            raise
        message = "the machine was not usable in time: the provider could not be asked about it"
        await _give_up(tenure, instance, provider, lambda rows: _not_ready(rows, core, "START_TIMEOUT", message))
        return
    if machine.status in LOST:
        await _give_up(tenure, instance, provider, lambda rows: _lost_early(rows, core, machine))
        return
    endpoint, ready = await _probe(core, instance, machine)
    if ready.ready:
        next_s = next_look(core.policy, provider.capabilities.steady_poll_s)
        running = await tenure.apply(lambda rows: _running(rows, core, machine, endpoint, ready), due_in_s=next_s)
        _measure(core, running)
        return
    reason = ready.reason or machine.message or f"the machine is {machine.status}"

    def not_yet(rows: Rows) -> None:
        metered(rows, machine)
        row = rows.instance
        # The first host key met is the one that must answer until the end.
        rows.instance = replace(
            row, seen_at=rows.now, missing_since=None, ssh_host_key=row.ssh_host_key or ready.host_key,
            refused_at=(row.refused_at or rows.now) if ready.refused else None,
        )  # fmt: skip
        if _hopeless(rows.instance, provider, ready, rows.now):
            _not_ready(rows, core, "NOT_READY", f"the machine cannot be used: {reason}")
        elif row.start_deadline_at is not None and rows.now >= row.start_deadline_at:
            _not_ready(rows, core, "START_TIMEOUT", f"the machine was not usable in time: {reason}")

    await _give_up(tenure, instance, provider, not_yet)


async def _give_up(tenure: Tenure, instance: Instance, provider: Provider, findings: Findings) -> None:
    """Apply findings that may end the start; a machine that is given up is remembered of its offer."""
    core = tenure.core
    after = await tenure.apply(findings, due_in_s=provider.capabilities.transition_poll_s)
    if after.state is not State.STARTING and not after.ending:
        core.meter.count(Count.SSH_VERIFY_FAILURES)
        await note_failure(core, provider, instance.offer_id, Outcome.NOT_READY)


def _hopeless(row: Instance, provider: Provider, ready: ProbeResult, now: int) -> bool:
    """Whether waiting will not help: another host key than the pinned one, or keys refused for longer than the
    provider takes to install them."""
    if ready.refused:
        patience = int(provider.capabilities.key_install_s * SECOND)
        return row.refused_at is not None and now - row.refused_at > patience
    return ready.permanent


def _measure(core: Core, running: Instance) -> None:
    if running.run_at is not None and running.machine_at is not None:
        core.meter.observe(Timing.SSH_VERIFY, (running.run_at - running.machine_at) / SECOND)
        core.meter.observe(Timing.PROVISIONING, (running.run_at - running.created_at) / SECOND, running.provider)


async def _probe(core: Core, instance: Instance, machine: Machine) -> tuple[SshEndpoint | None, ProbeResult]:
    """The way in that answers, and what it said; or the first one that has something to say. A machine that only serves
    has no way in."""
    if machine.ssh is None and not machine.ssh_also and machine.model_url:
        return None, await _ask_model(core, instance, machine)
    first: tuple[SshEndpoint | None, ProbeResult] | None = None
    for way in (machine.ssh, *machine.ssh_also):
        if way is None:
            continue
        found = await _probe_one(core, instance, machine, way)
        if found.ready:
            return way, found
        if first is None or (found.refused and not first[1].refused):
            first = (way, found)
    return first or (None, ProbeResult(False, reason=machine.message or f"the machine is {machine.status}"))


async def _probe_one(core: Core, instance: Instance, machine: Machine, way: SshEndpoint) -> ProbeResult:
    endpoint = SshEndpoint(way.host, way.port, way.user, way.host_key or instance.ssh_host_key)
    ssh = await core.prober.probe(endpoint, probe_seed(core.secrets, instance.id), PROBE_S)
    if not ssh.ready:
        return ssh
    if instance.wish.model:
        service = await _ask_model(core, instance, machine)
    elif machine.jupyter_url:
        token = jupyter_token(core.secrets, instance.id)
        service = await core.prober.jupyter_health(machine.jupyter_url, token, PROBE_S)
    else:
        return ssh
    return replace(ssh, ready=service.ready, reason=service.reason)


async def _ask_model(core: Core, instance: Instance, machine: Machine) -> ProbeResult:
    """Whether the model answers its tenant. What serves without one is only known to speak HTTP."""
    if not instance.wish.model:
        return await core.prober.http_health(machine.model_url.removesuffix("/v1"), PROBE_S)
    return await core.prober.model_health(machine.model_url, model_key(core.secrets, instance.id), PROBE_S)


def _running(rows: Rows, core: Core, machine: Machine, way: SshEndpoint | None, ready: ProbeResult) -> None:
    if rows.instance.ending:
        endings.stopping(rows)
        return
    metered(rows, machine)
    row = rows.instance.to(State.RUNNING, rows.now).reservation_begun()
    if way is not None:
        row = replace(
            row, ssh_host=way.host, ssh_port=way.port, ssh_user=way.user, ssh_host_key=ready.host_key or way.host_key
        )
    rows.instance = replace(
        row, model_url=machine.model_url or machine.jupyter_url, seen_at=rows.now, missing_since=None, refused_at=None
    )
    if rows.create is not None:
        rows.create = rows.create.enter("ready", rows.now).finish(OperationState.SUCCEEDED, rows.now)
    post(rows, core.policy)


def _not_ready(rows: Rows, core: Core, reason: str, message: str) -> None:
    """The machine is returned; another offer is tried in its place as often as the wish allows."""
    if rows.instance.ending:
        endings.stopping(rows)
        return
    retry = _may_retry(rows)
    if rows.create is not None:
        rows.create = rows.create.outcome(rows.instance.attempt, Outcome.NOT_READY, message, rows.now)
    if retry:
        row = rows.instance.to(State.ALLOCATING, rows.now, reason, message)
        rows.instance = replace(row, start_deadline_at=None, refused_at=None, ssh_host_key="")
    else:
        endings.fail(rows, core.policy, endings.DEADLINE_EXCEEDED, reason, message)


def _may_retry(rows: Rows) -> bool:
    attempts = rows.create.attempts if rows.create is not None else ()
    replaced = sum(1 for attempt in attempts if attempt.outcome is Outcome.NOT_READY)
    return rows.create is not None and not rows.create.done and replaced < rows.instance.wish.max_retries


def is_lost(row: Instance, machine: Machine) -> bool:
    """Whether the machine does not come back. One that we stopped may look as if it had been taken back."""
    return machine.status in LOST and not (row.kept is not None and machine.status is MachineStatus.PREEMPTED)


def _lost_early(rows: Rows, core: Core, machine: Machine) -> None:
    """Lost before anybody could use it: like one that did not become usable."""
    metered(rows, machine)
    if not rows.instance.ending and _may_retry(rows):
        _not_ready(rows, core, *_why_lost(machine))
    else:
        lost(rows, core, machine)


def _why_lost(machine: Machine) -> tuple[str, str]:
    reason = "PREEMPTED" if machine.status is MachineStatus.PREEMPTED else "MACHINE_LOST"
    message = {
        MachineStatus.GONE: machine.message or "the machine is gone at the provider",
        MachineStatus.PREEMPTED: "the provider took the machine back",
    }.get(machine.status, f"the machine failed at the provider: {machine.message or 'no reason given'}")
    return reason, message


def lost(rows: Rows, core: Core, machine: Machine) -> None:
    """The provider lost the machine, took it back, or reports that it broke."""
    reason, message = _why_lost(machine)
    term = rows.instance.provider_expire_at
    if machine.status is MachineStatus.GONE and term is not None and rows.now >= term:
        reason, message = "PROVIDER_EXPIRED", "the provider ended the machine at the end of its term"
    gone = machine.status is MachineStatus.GONE
    endings.fail(rows, core.policy, endings.UNAVAILABLE, reason, message, gone=gone, gone_at=machine.ended_at)
