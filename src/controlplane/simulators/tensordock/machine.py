"""A virtual machine of TensorDock: its life as a plan that is drawn once and read at any time."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from controlplane.simulators.faults import Faults
from controlplane.simulators.ledger import Bill, Span, cost_nano, elapsed_s
from controlplane.simulators.model import RentedMachine
from controlplane.simulators.plans import host_loss, stuck_form
from controlplane.simulators.tensordock.catalogue import Node
from controlplane.simulators.tensordock.orders import Modification, Order, PortForward

_STUCK_WORDS = {"null": "creating", "loading": "starting", "created": "running"}  # the last one never has an address
_LOST_WORDS = {"unknown": "unknown", "offline": "error"}
_CREATING_SHARE = 0.4  # of the time until it runs


@dataclass
class VirtualMachine(RentedMachine):
    """One machine. Times are epoch seconds, prices nano-dollars an hour; `full` are the stretches at full price, from
    creation to the end of a stop; in between, the storage alone is paid.
    """

    order: Order = field(kw_only=True)
    node: Node = field(kw_only=True)
    vcpus: int = field(kw_only=True)
    ram_gb: int = field(kw_only=True)
    storage_gb: int = field(kw_only=True)
    gpu_nano: int = field(kw_only=True)  # of one GPU, as agreed at creation
    up_at: float = field(kw_only=True)  # when it runs and has an address
    since: float = field(kw_only=True)  # of its present size
    before: Bill = field(kw_only=True)  # what it had cost until then
    first_boot: bool = True
    stuck: str = ""
    full: list[Span] = field(default_factory=list)
    stop_asked_at: float | None = None
    disassociated: bool = False  # its GPU was rented away while it was stopped
    lost: Span | None = None
    lost_word: str = ""

    @property
    def storage_nano(self) -> int:
        """Its price per hour while it is stopped."""
        return self.storage_gb * self.node.location.storage_gb_nano

    @property
    def full_nano(self) -> int:
        """Its price per hour otherwise."""
        place = self.node.location
        size = self.vcpus * place.vcpu_nano + self.ram_gb * place.ram_gb_nano
        return self.order.gpu_count * self.gpu_nano + size + self.storage_nano

    @property
    def forwards(self) -> tuple[PortForward, ...]:
        """The ports forwarded to it as it was ordered; a dedicated address needs none."""
        return () if self.order.use_dedicated_ip else self.order.port_forwards

    def status(self, now: float) -> str:
        """The marketplace's word for its state."""
        if self.ended_at is not None:
            return "deleting"
        if self.lost is not None and self.lost.holds(now):
            return self.lost_word
        if self.disassociated:
            return "StoppedDisassociated"
        if self.stop_asked_at is not None:
            return "stopping" if now < self.full[-1].end else "Stopped"
        if self.stuck:
            return _STUCK_WORDS[self.stuck]
        if now >= self.up_at:
            return "running"
        begun = self.full[-1].start
        creating = self.first_boot and now < begun + _CREATING_SHARE * (self.up_at - begun)
        return "creating" if creating else "starting"

    def runs(self, now: float) -> bool:
        """Whether it is up, whatever the marketplace says of it."""
        away = self.lost is not None and self.lost.holds(now)
        halted = self.ended_at is not None or self.stop_asked_at is not None or self.disassociated
        return now >= self.up_at and not (away or halted or self.stuck)

    def shows_address(self, now: float, faults: Faults) -> bool:
        """Whether the API tells its address."""
        return now >= self.up_at + faults.ports_after_s and not self.stuck and self.stop_asked_at is None

    def listens(self, now: float, faults: Faults) -> bool:
        """Whether its SSH port accepts connections."""
        return self.runs(now) and now >= self.up_at + faults.ports_after_s + faults.ssh_after_s

    def accepts_keys(self, now: float, faults: Faults) -> bool:
        """Whether cloud-init has installed its keys."""
        return self.listens(now, faults) and (
            not self.first_boot or now >= self.up_at + faults.ports_after_s + faults.ssh_after_s + faults.keys_after_s
        )

    def stop(self, now: float, faults: Faults) -> None:
        """Shut it down; the full price is due until it is down."""
        self.stop_asked_at = now
        self.full[-1].close(now + faults.stop_s)

    def start(self, now: float, boot_s: float, *, new_address: bool) -> None:
        """Boot it again."""
        self.stop_asked_at, self.first_boot = None, False
        self.full.append(Span(now))
        self.up_at = now + boot_s
        self.version += new_address

    def resize(self, change: Modification, now: float) -> None:
        """Another size from now on, while it is stopped; what it cost until now stays."""
        self.before, self.since, self.full = self.bill(now), now, [Span(now, now)]
        self.vcpus = change.cpu_cores or self.vcpus
        self.ram_gb = change.ram_gb or self.ram_gb
        self.storage_gb = change.disk_gb or self.storage_gb

    def lose(self, at: float, rng: Random, faults: Faults) -> None:
        """Its host stops answering at `at`, for good or for a while."""
        self.lost, form = host_loss(at, rng, faults)
        self.lost_word = _LOST_WORDS[form]

    def bill(self, now: float) -> Bill:
        """What it has cost until `now`, or until its end."""
        until = now if self.ended_at is None else min(now, self.ended_at)
        full_s = elapsed_s(self.full, until)
        rest_s = max(0.0, until - self.since - full_s)
        cost = cost_nano(self.full_nano, full_s) + cost_nano(self.storage_nano, rest_s)
        return Bill(self.before.running_s + full_s, self.before.billed_nano + cost)


def rented(
    machine_id: str, order: Order, node: Node, now: float, *, rng: Random, faults: Faults, hits: frozenset[str]
) -> VirtualMachine:
    """A machine as it comes out of a create, with what will befall it."""
    machine = VirtualMachine(
        machine_id, order.name, now, list(order.cloud_init.keys()),
        order=order, node=node, vcpus=order.resources.vcpu_count, ram_gb=order.resources.ram_gb,
        storage_gb=order.resources.storage_gb, gpu_nano=node.gpu_nano, up_at=now + rng.uniform(*faults.boot_s),
        since=now, before=Bill(0.0, 0), full=[Span(now)],
    )  # fmt: skip
    if "stuck" in hits:
        machine.stuck = stuck_form(rng, faults)
    if "host_lost" in hits:
        machine.lose(machine.up_at + rng.uniform(*faults.host_lost_after_s), rng, faults)
    return machine
