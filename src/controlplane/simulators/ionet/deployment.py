"""A deployment at io.net: paid for in advance, and over when its time is."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from controlplane.simulators.faults import Faults
from controlplane.simulators.ionet.catalogue import Hardware, Location
from controlplane.simulators.ionet.orders import ContainerOrder, ContainerPatch, VmOrder
from controlplane.simulators.ledger import Bill, Span, cost_nano
from controlplane.simulators.machines import public_key
from controlplane.simulators.model import RentedMachine
from controlplane.simulators.plans import host_loss, stuck_form

HOUR_S = 3600.0
TEARDOWN_S = 2.0  # a delete is asynchronous even where nothing slows it down
_REQUESTED_SHARE = 0.5  # of the time until a container runs; then it is being deployed


@dataclass
class Deployment(RentedMachine):
    """One VM, or the containers of one order. Times are epoch seconds, money is nano-dollars.

    Paid time begins when it runs (`up_at`) and ends `hours` later.
    """

    order: VmOrder | ContainerOrder = field(kw_only=True)
    hardware: Hardware = field(kw_only=True)
    place: Location = field(kw_only=True)
    hourly_nano: int = field(kw_only=True)  # of all its GPUs
    hours: int = field(kw_only=True)  # bought so far
    up_at: float = field(kw_only=True)
    ready_at: float = field(kw_only=True)  # later than `up_at` after a redeployment
    stuck: str = ""
    refunded_nano: int = 0
    delete_asked_at: float | None = None
    final: str = ""  # its status once it has ended
    lost: Span | None = None
    lost_form: str = ""

    @property
    def billed_nano(self) -> int:
        """What was paid and not given back."""
        return self.hourly_nano * self.hours - self.refunded_nano

    @property
    def replicas(self) -> int:
        """Units of its hardware."""
        return self.order.container_config.replica_count if isinstance(self.order, ContainerOrder) else 1

    @property
    def expires_at(self) -> float:
        """Until when it is paid for."""
        return self.up_at + self.hours * HOUR_S

    def status(self, now: float) -> str:
        """The marketplace's word for its state."""
        if self.final:
            return self.final
        if self.delete_asked_at is not None:
            return "termination requested"
        if not self.stuck and now >= self.ready_at:
            return "running"
        container = isinstance(self.order, ContainerOrder)
        requested_until = self.created_at + _REQUESTED_SHARE * (self.up_at - self.created_at)
        deploying = self.stuck == "loading" if self.stuck else now >= requested_until
        return "deploying" if container and deploying else "deployment requested"

    def over(self, faults: Faults) -> tuple[float, str]:
        """When it ends as things stand, and in which status."""
        ends = []
        if self.delete_asked_at is not None:
            ends.append((self.delete_asked_at + TEARDOWN_S + faults.stop_s, "destroyed"))
        if self.stuck == "created":
            ends.append((self.up_at, "failed"))
        if not self.stuck:
            ends.append((self.expires_at, "completed"))
        return min(ends, default=(float("inf"), ""))

    def served_s(self, now: float) -> float:
        """Paid time used."""
        until = now if self.ended_at is None else min(now, self.ended_at)
        return 0.0 if self.stuck else max(0.0, min(until, self.expires_at) - self.up_at)

    def ready(self, now: float, late_s: float = 0.0) -> bool:
        """Whether it came up, at least `late_s` ago."""
        return not (self.final or self.stuck) and now >= self.ready_at + late_s

    def away(self, now: float) -> bool:
        """Whether its host does not answer."""
        return self.lost is not None and self.lost.holds(now)

    def refund(self, now: float, faults: Faults) -> int:
        """What comes back when it ends at `now` before its time. What failed to start is given back in full."""
        if self.stuck == "created":
            return self.billed_nano
        if not faults.early_refund or isinstance(self.order, ContainerOrder):
            return 0
        return cost_nano(self.hourly_nano, max(0.0, self.expires_at - max(now, self.up_at + HOUR_S)))

    def redeploy(self, patch: ContainerPatch, now: float, boot_s: float) -> None:
        """New containers with another configuration; their time goes on."""
        if isinstance(self.order, ContainerOrder):
            self.order = self.order.patched(patch)
            self.ready_at = now + boot_s

    def lose(self, at: float, rng: Random, faults: Faults) -> None:
        """Its host stops answering at `at`, for good or for a while."""
        self.lost, self.lost_form = host_loss(at, rng, faults)

    def bill(self, now: float) -> Bill:
        """What has been paid for it, and for how long it has run."""
        return Bill(self.served_s(now), self.billed_nano)


def deployed(
    deployment_id: str, order: VmOrder | ContainerOrder, hardware: Hardware, place: Location, now: float,
    *, rng: Random, faults: Faults, hits: frozenset[str],
) -> Deployment:  # fmt: skip
    """A deployment as it comes out of a deploy, with what will befall it."""
    up_at = now + rng.uniform(*faults.boot_s)
    lines = order.ssh_keys.values() if isinstance(order, VmOrder) else ()
    deployment = Deployment(
        deployment_id, order.resource_private_name, now, [public_key(line) for line in lines],
        order=order, hardware=hardware, place=place, hourly_nano=order.gpus * hardware.gpu_nano,
        hours=order.duration_hours, up_at=up_at, ready_at=up_at,
    )  # fmt: skip
    if "stuck" in hits:
        deployment.stuck = stuck_form(rng, faults)
    if "host_lost" in hits:
        deployment.lose(up_at + rng.uniform(*faults.host_lost_after_s), rng, faults)
    return deployment
