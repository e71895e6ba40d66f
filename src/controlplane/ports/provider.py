"""The port to a marketplace: what every provider adapter promises and the outcomes it may report.

Shared rules (reference/providers.md section 1): a create is sent once; an unclear outcome is `Ambiguous` and is
settled by looking the label up; absence is evidence only in a complete listing; an unknown status is `UNKNOWN`, never
an exception. Every method has its own deadline and raises nothing but `ProviderError` (and `CancelledError`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from controlplane.domain.instance import Wish
from controlplane.domain.offer import Offer
from controlplane.domain.template import Template


class ProviderError(Exception):
    """The provider could not be asked or its answer not be understood; nothing was concluded from it.

    The text is for operators' logs; it never holds a secret and never reaches a client.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None, undone: bool = False) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.undone = undone  # provably nothing was done: it never left, or was refused


class LaunchMode(StrEnum):
    """What the machine runs beside its SSH server."""

    SSH = "ssh"
    MODEL = "model"  # a server of a model, or whatever an image's own entrypoint serves; not everywhere beside SSH
    JUPYTER = "jupyter"  # a Jupyter server


@dataclass(frozen=True, slots=True)
class SshEndpoint:
    """Where a machine's SSH server listens. `host_key` ("ssh-ed25519 AAAA...") is pinned when known."""

    host: str
    port: int
    user: str
    host_key: str = ""


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """Everything a provider needs to make one machine.

    `label` is unique to (deployment, instance, attempt) and is stored at the provider before or with the create.
    `authorized_keys` are OpenSSH lines of the caller; `probe_key` is the control plane's own public key line, to be
    installed so that it may run one trivial command and nothing else. `max_price_nano_per_hour` is re-checked at
    purchase (None: no cap).
    """

    label: str
    offer: Offer
    authorized_keys: tuple[str, ...]
    probe_key: str
    disk_gb: int
    mode: LaunchMode = LaunchMode.SSH
    image: str = ""
    template: str = ""  # the provider's own template; `image` and the rest override what it says
    on_start: str = ""  # shell command to run once at the machine's start
    ports: tuple[int, ...] = ()  # TCP ports to open to the world, beside SSH; MODEL: the first is the server's
    model: str = ""  # MODEL: what the server loads and serves; empty: the image serves something of its own
    model_api_key: str = ""  # MODEL: the bearer the server requires; empty without a model
    quantization: str = ""  # MODEL: how the model's weights are quantized, in the server's word
    jupyter_token: str = ""  # JUPYTER: the token the server requires
    env: Mapping[str, str] = field(default_factory=dict)
    max_price_nano_per_hour: int | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """The machine exists and has this provider id; it need not be up yet.

    `created_at` is when the provider accepted it, as near as can be told: by its own clock, or else when the request
    was sent (microseconds; None: when this answer came). `price_nano_per_hour` is what was agreed on for this machine,
    with its disk, where that is known to differ from the offer's price.
    """

    machine_id: str
    created_at: int | None = None
    price_nano_per_hour: int | None = None


@dataclass(frozen=True, slots=True)
class Stockout:
    """This offer cannot be had now; try the next one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The request is wrong for this offer; repeating it will not help."""

    reason: str


@dataclass(frozen=True, slots=True)
class TooDear:
    """The price at purchase was above the cap; nothing was bought."""

    price_nano_per_hour: int


@dataclass(frozen=True, slots=True)
class AuthFailed:
    """The provider refused our credential."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoFunds:
    """The account at the provider cannot pay."""

    reason: str


@dataclass(frozen=True, slots=True)
class RateLimited:
    """Refused before any work; ask again after `after_s` seconds."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """The machine may or may not exist; only the label can tell. `sent_at` is when the request left, where known: a
    machine whose provider does not tell when it was made was made then."""

    reason: str
    sent_at: int | None = None


@dataclass(frozen=True, slots=True)
class CreatedButUnusable:
    """The machine exists, cannot be used, and must be destroyed."""

    machine_id: str
    reason: str


LaunchOutcome = (
    Created | Stockout | Rejected | TooDear | AuthFailed | NoFunds | RateLimited | Ambiguous | CreatedButUnusable
)


class MachineStatus(StrEnum):
    """A provider's words for a machine, normalised."""

    PROVISIONING = "provisioning"
    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    PREEMPTED = "preempted"
    FAILED = "failed"
    STOPPING = "stopping"
    GONE = "gone"
    UNKNOWN = "unknown"


LOST = frozenset({MachineStatus.GONE, MachineStatus.FAILED, MachineStatus.PREEMPTED})
"""What a machine does not come back from."""


@dataclass(frozen=True, slots=True)
class Utilisation:
    """How busy a machine is, averaged since the last look. None means the provider cannot tell."""

    cpu_percent: float | None = None  # of one core; 250.0 is two and a half cores
    gpu_percent: float | None = None
    ssh_sessions: int | None = None  # the control plane's own probe does not count


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as the provider sees it. What the provider does not tell is None.

    Provider cost follows from it (domain/metering.py): `running_s` is for how long the machine has run at its full
    price so far, by the provider's clock, standing still while it does not; None where it costs its full price from
    creation to end. `paid_until` is until when it is paid in advance.
    """

    id: str
    label: str
    status: MachineStatus
    ssh: SshEndpoint | None = None  # None: not known yet, or the machine has none and only serves
    ssh_also: tuple[SshEndpoint, ...] = ()  # other ways in (a proxy); whichever answers is used
    model_url: str = ""  # MODEL, once known: base URL of the OpenAI-compatible API, ending in /v1
    jupyter_url: str = ""  # JUPYTER: base URL of the Jupyter server
    message: str = ""
    price_nano_per_hour: int | None = None
    created_at: int | None = None  # microseconds, the provider's clock
    utilisation: Utilisation | None = None
    host_id: str = ""  # local provider: the host it runs on
    standby_nano_per_hour: int | None = None  # what it costs while it does not run
    seen_at: int | None = None  # when the request for this view was sent; None: just now
    running_s: float | None = None
    paid_until: int | None = None
    billed_nano: int | None = None  # in all, refunds taken off, where that is told at once
    expires_at: int | None = None  # when the provider will end it, whatever we do
    ended_at: int | None = None  # GONE: since when


@dataclass(frozen=True, slots=True)
class Listing:
    """Machines whose label begins with the prefix asked for. Absence means something only when `complete`."""

    complete: bool
    machines: tuple[Machine, ...]


class Destruction(StrEnum):
    """What became of a destroy."""

    GONE = "gone"  # the provider confirms that nothing is left and nothing is billed: this destroy ended it
    ABSENT = "absent"  # there was nothing to destroy: it had ended before
    PENDING = "pending"  # under way; ask again


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do and how it wants to be asked. Durations are seconds."""

    logs: bool = False
    templates: bool = False
    stop: bool = False  # stops machines and keeps their disks
    utilisation: bool = False
    jupyter: bool = False  # understands LaunchMode.JUPYTER
    launch_timeout_s: float = 90.0  # the longest launch() may take
    call_timeout_s: float = 30.0  # the longest any other call may take
    listing_delay_s: float = 0.0  # how late a new machine may appear, and a destroyed one still show
    late_create_s: float = 60.0  # how long after its call was cut a create may still take effect
    transition_poll_s: float = 5.0  # how often to look while a machine comes up or goes away
    steady_poll_s: float = 30.0  # how often to look at a running machine
    start_deadline_s: float = 900.0  # from Created to usable
    concurrency: int = 16  # launches and destroys under way at once
    spot: bool = False  # lends machines that it may take back
    add_keys: bool = False  # lets further keys into a machine that it has made
    extend: bool = False  # takes money in advance: `extend` must be called before `paid_until`
    destroy_is_end: bool = False  # a destroy that arrives ends the bill at once
    key_install_s: float = 0.0  # how long after SSH answers the keys may still be refused
    offers_pause_s: float = 0.0  # the least time between two looks at its offers
    rest_s: float = 0.0  # for how long an offer that could not be had is not asked for again


class Provider(Protocol):
    """One marketplace under one credential. Adapters derive from it: what not every provider can do has a body here."""

    name: str
    """The first part of its offers' ids."""

    capabilities: Capabilities
    """What it can do; constant while the process lives."""

    async def offers(self) -> tuple[Offer, ...]:
        """All that can be rented now. An empty answer means "nothing", never "could not ask"."""
        ...

    def refuses(self, wish: Wish) -> str:
        """Why no machine of this provider can be what is asked for, whatever the offer; empty if one can. Known without
        asking anybody, so that no attempt is spent on it."""
        return ""

    async def admit(self, call: str) -> None:
        """Wait until a `launch` or `destroy` may be sent without breaking the provider's rate limits, and take that
        turn. What is recorded after this and before the call is therefore true to the moment of sending."""
        return

    async def launch(self, spec: LaunchSpec) -> LaunchOutcome:
        """Ask once for one machine, in a turn that `admit` gave. A second call with a label that already has a machine
        returns that machine where the provider can tell, and is otherwise the caller's mistake."""
        ...

    async def list(self, label_prefix: str) -> Listing:
        """Machines by label prefix, dead leftovers included."""
        ...

    async def describe(self, machine_id: str) -> Machine:
        """One machine. Status GONE only when the provider positively says so; within `listing_delay_s` of its creation
        the engine takes that for "not known yet"."""
        ...

    async def verify(self, machine_id: str) -> Machine:
        """One machine asked for by itself, past every list and memory that may be behind: for whether a destroy without
        an answer has worked."""
        return await self.describe(machine_id)

    async def destroy(self, machine_id: str, *, grace_s: float) -> Destruction:
        """End a machine; idempotent, safe to repeat at any time, also after a restart of the control plane.

        The first call starts the graceful stop (SIGTERM where there is such a thing); the machine is killed once
        `grace_s` seconds have passed since then. A later call with a smaller grace shortens it; 0 kills at once.
        Returns at once: PENDING until the provider confirms that nothing is left. Uses a turn that `admit` gave.
        """
        ...

    async def stop(self, machine_id: str) -> None:
        """Stop a machine; its disk is kept and goes on costing until it is destroyed. Idempotent: what came of it shows
        in `describe()`. Raises ProviderError where `capabilities.stop` is false."""
        raise ProviderError(f"machines of {self.name} cannot be stopped and kept")

    async def add_key(self, machine_id: str, line: str) -> None:
        """Let one more OpenSSH public key in, beside those of the launch; idempotent. It works within `key_install_s`,
        and for as long as the machine does. Raises ProviderError where `capabilities.add_keys` is false."""
        raise ProviderError(f"{self.name} adds no keys to a machine that it has made")

    async def extend(self, machine_id: str, seconds: int) -> None:
        """Pay for that much more in advance; sent once. What came of it shows in `describe().paid_until`. Raises
        ProviderError where `capabilities.extend` is false."""
        raise ProviderError(f"{self.name} is not paid in advance")

    async def bill(self, machine_id: str, since: int) -> int | None:
        """What the provider took for a machine that was made at `since` and has ended, in nano-units, as far as it has
        told by now; None where it does not tell. Asked where the last look failed, and what the machine did after it is
        not known."""
        return None

    async def templates(self) -> tuple[Template, ...]:
        """The provider's own templates; empty where `capabilities.templates` is false."""
        return ()

    async def logs(self, machine_id: str, *, tail: int) -> str:
        """The last `tail` lines of the machine's own log. Raises ProviderError where `capabilities.logs` is false."""
        raise ProviderError(f"{self.name} keeps no logs")

    async def close(self) -> None:
        """Release what this process holds; machines go on."""
        return
