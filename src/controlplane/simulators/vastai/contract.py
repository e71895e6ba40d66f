"""A rented instance of the simulated Vast.ai: its life, planned when it is created and replanned by what is done to it,
so that its state at any time is a pure function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from controlplane.simulators.ledger import Bill, Span, cost_nano, elapsed_s
from controlplane.simulators.model import RentedMachine
from controlplane.simulators.vastai.asks import Ask

_BOOT_PARTS = (("null", 0.15), ("created", 0.3), ("loading", 1.0))  # state, and by which part of the boot it is over
OCI_MESSAGE = "Error response from daemon: OCI runtime create failed: nvidia-container-cli: device error: unknown"
SCHEDULING = "scheduling"


@dataclass(slots=True)
class Run(Span):
    """A time of running, at a price of the GPUs (nano-dollars an hour)."""

    nano: int = 0


@dataclass
class Contract(RentedMachine):
    """One instance. Money is nano-dollars an hour, times are epoch seconds."""

    ask: Ask | None = None  # what it was rented from; None for one that nobody asked for
    gpu_nano: int = 0
    disk_nano: int = 0
    disk_gb: float = 10.0
    bid: bool = False
    order: dict[str, Any] = field(default_factory=dict)  # the create's body
    intended: str = "running"
    runs: list[Run] = field(default_factory=list)
    woken_at: float = 0.0  # when it last began to come up
    stuck_form: str = ""  # "null", "loading", "created" or SCHEDULING: it does not come up
    preempted_at: float = math.inf
    lost: Span = field(default_factory=lambda: Span(math.inf))
    lost_form: str = "unknown"
    rebooting: Span = field(default_factory=lambda: Span(math.inf))
    direct_blocked: bool = False
    key_times: dict[str, float] = field(default_factory=dict)  # when keys were added after the create
    key_ids: dict[int, str] = field(default_factory=dict)

    def bill_at(self, now: float) -> Bill:
        """The account so far: GPUs while running, storage from creation until destroyed."""
        until = min(now, self.ended_at) if self.ended_at is not None else now
        gpu = sum(cost_nano(run.nano, elapsed_s([run], until)) for run in self.runs)
        disk = cost_nano(self.disk_nano, max(0.0, until - self.created_at))
        return Bill(self.running_s(until), gpu + disk)

    def running_s(self, now: float) -> float:
        """For how long it has run so far; stands still while it does not."""
        return elapsed_s(self.runs, now)

    def up_since(self, now: float) -> float | None:
        """When it came up, while it is up."""
        return next((run.start for run in self.runs if run.holds(now)), None)

    def is_preempted(self, now: float) -> bool:
        """Whether it was taken back."""
        return now >= self.preempted_at

    def intended_at(self, now: float) -> str:
        """What the market believes is wanted."""
        return "stopped" if self.is_preempted(now) else self.intended

    def status(self, now: float) -> str | None:
        """`actual_status`: the container's state."""
        if self.lost.holds(now):
            return self.lost_form
        if self.rebooting.holds(now):
            return "rebooting"
        if self.up_since(now) is not None:
            return "running"
        if self.intended_at(now) == "running":
            return self._booting(now)
        if self.running_s(now) == 0:
            return "created"
        return "stopped" if self.is_preempted(now) else "exited"

    def _booting(self, now: float) -> str | None:
        if self.stuck_form == SCHEDULING:
            return "exited"
        form = self.stuck_form
        if not form:
            ready = next((run.start for run in self.runs if run.start > now), now)
            part = (now - self.woken_at) / max(1e-9, ready - self.woken_at)
            form = next((state for state, end in _BOOT_PARTS if part < end), "loading")
            if self.running_s(now) > 0:
                form = "loading"  # a container that is there already is neither provisioned nor created again
        return None if form == "null" else form

    def contract_state(self, now: float) -> tuple[str, str]:
        """`cur_state` and `next_state`: whether hardware is held, and whether it will be."""
        if self.stuck_form == SCHEDULING:
            return "stopped", "running"
        wanted = self.intended_at(now)
        return ("running" if self.up_since(now) is not None else wanted), wanted

    def message(self, now: float) -> str:
        """`status_msg`."""
        image = self.order.get("image", "")
        status = self.status(now)
        if status == "running":
            return f"success, running {image}/ssh"
        if self.stuck_form == SCHEDULING:
            return "scheduling: waiting for the GPU to become free"
        if self.stuck_form == "created":
            return OCI_MESSAGE
        return f"Pulling from {image}: 3f4ca61aafcd: Downloading" if status == "loading" else ""

    def plan_run(self, now: float, boot_s: float) -> None:
        """Come up `boot_s` from now."""
        self.intended, self.woken_at, self.stuck_form = "running", now, ""
        self.runs.append(Run(now + boot_s, nano=self.gpu_nano))

    def halt(self, at: float) -> None:
        """Run no longer than until `at`, which may lie ahead; later times of running are off."""
        for run in self.runs:
            run.end = min(run.end, max(run.start, at))
        self.runs = [run for run in self.runs if run.end > run.start]

    def stick(self, form: str) -> None:
        """Never come up by itself."""
        self.stuck_form = form
        self.runs = [run for run in self.runs if run.end < math.inf]

    def take_back(self, at: float) -> None:
        """A spot instance goes to somebody else at `at`."""
        self.preempted_at = at
        self.halt(at)

    def lose_host(self, lost: Span, form: str) -> None:
        """The host is silent for that time, and the status is `form`."""
        was_up = any(run.holds(lost.start) for run in self.runs)
        self.halt(lost.start)
        self.lost, self.lost_form = lost, form
        if was_up and lost.end < math.inf:
            self.runs.append(Run(lost.end, nano=self.gpu_nano))

    def change_price(self, now: float, nano: int) -> None:
        """Pay another price from now on."""
        self.gpu_nano = nano
        for run in [run for run in self.runs if run.end > now]:
            if run.start >= now:
                run.nano = nano
            else:
                self.runs.append(Run(now, run.end, nano))
                run.end = now
