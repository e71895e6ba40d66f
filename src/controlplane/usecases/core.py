"""What every use-case and loop is given: the ports, the offer book and the deployment's policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.domain.ids import label_prefix
from controlplane.ports.bus import Bus
from controlplane.ports.clock import Clock
from controlplane.ports.ids import Ids
from controlplane.ports.key_pairs import KeyPairs, NoKeyPairs
from controlplane.ports.meter import Meter, NoMeter
from controlplane.ports.probe import Prober
from controlplane.ports.provider import Provider
from controlplane.ports.secrets import Secrets
from controlplane.ports.ssh import SshKeyParser
from controlplane.ports.store import Store
from controlplane.ports.webhooks import NoUrls, UrlGuard
from controlplane.usecases.offerbook import OfferBook
from controlplane.usecases.provider_credentials import CredentialBook


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits and rhythms of a deployment. Durations are seconds."""

    max_duration_s: int = 30 * 86400  # the hard maximum of any instance
    stop_grace_s: float = 60.0  # from SIGTERM to SIGKILL
    allocate_deadline_s: float = 1800.0  # trying offers
    max_attempts: int = 50
    meter_interval_s: float = 60.0  # how often running machines are charged
    hold_window_s: float = 120.0  # cost that budgets hold ahead; must exceed meter_interval_s
    idle_cpu_percent: float = 5.0  # below this, with no SSH session, a machine is idle
    idle_gpu_percent: float = 5.0
    default_disk_gb: int = 50
    default_local_disk_gb: int = 10
    max_budgets: int = 32
    max_keys: int = 1000
    max_webhooks: int = 32


@dataclass(frozen=True, slots=True)
class Core:
    """The application's dependencies."""

    store: Store
    clock: Clock
    ids: Ids
    bus: Bus
    secrets: Secrets
    ssh_keys: SshKeyParser
    prober: Prober
    providers: Mapping[str, Provider]
    offers: OfferBook
    policy: Policy
    deployment_id: str
    host_id: str = ""
    credentials: CredentialBook = field(default_factory=CredentialBook)
    meter: Meter = NoMeter()  # noqa: RUF009 without state
    urls: UrlGuard = NoUrls()  # noqa: RUF009 without state
    key_pairs: KeyPairs = NoKeyPairs()  # noqa: RUF009 without state
    webhook_events: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # event types by dialect

    def issued(self, label: str) -> bool:
        """Whether a label is of this deployment. Rows with another one came with a copied database: their machines are
        somebody else's to keep and to end."""
        return not label or label.startswith(label_prefix(self.deployment_id))
