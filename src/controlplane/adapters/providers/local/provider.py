"""The provider port over sandboxed machines of this host."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TypeVar
from weakref import WeakValueDictionary

import structlog

from controlplane.adapters.providers.local import catalogue, gpus, launching, view
from controlplane.adapters.providers.local.settings import LocalSettings
from controlplane.adapters.providers.local.usage import Usage
from controlplane.domain.instance import Wish
from controlplane.domain.offer import Offer
from controlplane.ports.clock import Clock
from controlplane.ports.provider import (
    Capabilities,
    Created,
    CreatedButUnusable,
    Destruction,
    LaunchOutcome,
    LaunchSpec,
    Listing,
    Machine,
    MachineStatus,
    Provider,
    ProviderError,
    Stockout,
)
from controlplane.sandbox import control
from controlplane.sandbox.host import Host, Report
from controlplane.sandbox.machines import Machines, Sighting
from controlplane.sandbox.spec import SandboxError

T = TypeVar("T")
_THREADS = 16
_LOG_LINES = 10_000
_KEY_S = 5.0  # a machine that is still coming up takes the key once it is up
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Look:
    sighting: Sighting
    cpu_ns: int | None
    message: str


class LocalProvider(Provider):
    """A rented machine is a real sandboxed process on this host; its id is its label."""

    name = catalogue.PROVIDER
    capabilities = Capabilities(
        logs=True,
        utilisation=True,
        add_keys=True,
        launch_timeout_s=60.0,
        call_timeout_s=15.0,
        listing_delay_s=0.0,
        late_create_s=0.0,  # a launch ends with the process that asked for it
        transition_poll_s=0.3,
        steady_poll_s=10.0,
        start_deadline_s=60.0,
        concurrency=_THREADS,
    )

    def __init__(self, settings: LocalSettings, clock: Clock, executor: Executor | None = None) -> None:
        # Unsandboxed machines share the host's ports, and Jupyter's is always the same. Whether it can be used is
        # seen at each launch: packages come and go.
        self.capabilities = replace(self.capabilities, jupyter=not settings.unsandboxed)
        self._settings = settings
        self._clock = clock
        self._host = Host()
        self._machines = Machines(settings.machines_dir, self._host, unsandboxed=settings.unsandboxed)
        self._usage = Usage(self._machines, clock)
        self._executor = executor or ThreadPoolExecutor(_THREADS, thread_name_prefix="local-provider")
        self._owns_executor = executor is None
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._gpu_choice = threading.Lock()  # choosing GPUs and recording the choice are one step

    async def offers(self) -> tuple[Offer, ...]:
        """See `Provider.offers`. Nothing where no sandbox can be built, unless told to do without."""
        return await self._in_thread(self._offers)

    def refuses(self, wish: Wish) -> str:
        """See `Provider.refuses`."""
        return launching.refusal(wish)

    async def launch(self, spec: LaunchSpec) -> LaunchOutcome:
        """See `Provider.launch`."""
        async with self._lock(spec.label):
            return await self._in_thread(lambda: self._launch(spec))

    async def list(self, label_prefix: str) -> Listing:
        """See `Provider.list`. Always complete: what this host runs is what it runs."""
        looks = await self._in_thread(lambda: self._look_all(label_prefix))
        machines = await asyncio.gather(*(self._view(look) for look in looks))
        return Listing(complete=True, machines=tuple(machines))

    async def describe(self, machine_id: str) -> Machine:
        """See `Provider.describe`."""
        look = await self._in_thread(lambda: self._look(machine_id))
        if look is None:
            self._usage.forget(machine_id)
            return Machine(machine_id, machine_id, MachineStatus.GONE, host_id=self._settings.host_id)
        return await self._view(look)

    async def destroy(self, machine_id: str, *, grace_s: float) -> Destruction:
        """See `Provider.destroy`."""
        async with self._lock(machine_id):
            grace_us = max(0, int(grace_s * 1_000_000))
            gone = await self._in_thread(lambda: self._machines.stop(machine_id, self._clock.now(), grace_us))
        if not gone:
            return Destruction.PENDING
        self._usage.forget(machine_id)
        return Destruction.GONE

    async def add_key(self, machine_id: str, line: str) -> None:
        """See `Provider.add_key`. The machine's agent keeps it, which outlives this process."""
        if not await self._in_thread(lambda: launching.is_key(line)):
            raise ProviderError("it is not one OpenSSH public key line")
        if not await control.add_key(self._machines.control_socket(machine_id), line, _KEY_S):
            raise ProviderError("the machine's agent did not take the key")

    async def logs(self, machine_id: str, *, tail: int) -> str:
        """See `Provider.logs`."""
        text = await self._in_thread(lambda: self._machines.log_tail(machine_id, min(tail, _LOG_LINES)))
        return view.without_host(text)

    async def close(self) -> None:
        """See `Provider.close`."""
        if self._owns_executor:
            await asyncio.to_thread(self._executor.shutdown)

    def report(self) -> Report:
        """For `gpuplane doctor`: (what, whether it is there, remark). Blocking."""
        _, no_gpu = gpus.discover(set)
        return [
            *self._host.report(),
            ("GPU", not no_gpu, no_gpu),
            ("local model server", *launching.model_report()),
            ("Jupyter server", *launching.jupyter_report()),
            ("machines at once", True, str(self._settings.machine_limit)),
        ]

    def _lock(self, label: str) -> asyncio.Lock:
        """One launch or destroy of a machine at a time."""
        return self._locks.setdefault(label, asyncio.Lock())

    def _offers(self) -> tuple[Offer, ...]:
        if self._host.refusal and not self._settings.unsandboxed:
            return ()
        kinds, _ = gpus.discover(self._taken_gpus)
        available = self._settings.machine_limit - self._machines.count()
        return catalogue.offers(self._settings, kinds, available, self._clock.now())

    def _launch(self, spec: LaunchSpec) -> LaunchOutcome:
        if self._machines.look(spec.label) is not None:
            return Created(spec.label)
        offer = next((offer for offer in self._offers() if offer.id == spec.offer.id), None)
        refusal = launching.refuse(spec, offer, self._settings, self._machines)
        if refusal is not None or offer is None:
            return refusal or Stockout(f"{spec.offer.id} is not offered now")
        try:
            with self._gpu_choice if offer.gpu_count and not offer.simulated else nullcontext():
                kinds, _ = gpus.discover(self._taken_gpus) if offer.gpu_count else ((), "")
                sandbox = launching.sandbox_spec(spec, offer, self._settings, kinds)
                self._machines.create(sandbox, self._clock.now(), limit=self._settings.machine_limit)
        except SandboxError as error:
            log.warning("local.not_started", label=spec.label, error=str(error))  # with paths: not for tenants
            reason = "this host could not start the machine"
            return CreatedButUnusable(spec.label, reason) if error.remains else Stockout(reason)
        return Created(spec.label)

    def _look(self, label: str) -> _Look | None:
        sighting = self._machines.look(label)
        return None if sighting is None else self._examine(sighting)

    def _look_all(self, prefix: str) -> tuple[_Look, ...]:
        return tuple(self._examine(sighting) for sighting in self._machines.look_all(prefix))

    def _examine(self, sighting: Sighting) -> _Look:
        """The blocking part of a look: enforce an overdue stop, read what only threads should read."""
        self._machines.kill_overdue(sighting, self._clock.now())
        if not sighting.alive:
            return _Look(sighting, None, view.why_failed(sighting, self._machines.log_tail(sighting.label, 1)))
        return _Look(sighting, self._machines.cpu_ns(sighting.record) if sighting.record else None, "")

    async def _view(self, look: _Look) -> Machine:
        sighting, utilisation = look.sighting, None
        if sighting.alive and sighting.record is not None:
            utilisation = await self._usage.of(sighting.record, look.cpu_ns)
        answered = self._usage.has_answered(sighting.label)
        state = view.status(sighting, answered=answered, now=self._clock.now())
        if state is not MachineStatus.RUNNING:
            utilisation = None
        return view.machine(sighting, state, utilisation, look.message, self._settings)

    def _taken_gpus(self) -> set[int]:
        records = (sighting.record for sighting in self._machines.look_all(""))
        lists = (str(record.note.get("gpus", "")) for record in records if record is not None)
        return {int(index) for text in lists for index in text.split(",") if index}

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except (OSError, SandboxError) as error:
            log.warning("local.failed", error=str(error))
            raise ProviderError("the local provider failed; the log of the control plane says why") from error
