"""The wish for one machine as callers state it, before the market has been looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controlplane.domain.billing import BillingPolicy
from controlplane.domain.errors import invalid
from controlplane.domain.instance import Wish
from controlplane.domain.requirements import Requirements
from controlplane.usecases import validation

MAX_SCRIPT = 16_384
MAX_SSH_KEYS = 32
RETRIES = 2
MAX_RETRIES = 5


@dataclass(frozen=True, slots=True)
class CreateInstance:
    """The wish for one machine, as any dialect may state it; fields as in gpuplane.v1.CreateInstanceRequest."""

    offer_id: str = ""
    requirements: Requirements | None = None
    max_price_nano_per_hour: int | None = None
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ssh_key_ids: tuple[str, ...] = ()
    ssh_public_keys: tuple[str, ...] = ()
    image: str = ""
    disk_gb: int = 0
    mode: str = "ssh"
    model: str = ""
    quantization: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    template: str = ""
    on_start: str = ""
    ports: tuple[int, ...] = ()
    max_retries: int | None = None  # None: RETRIES with requirements, 0 with an offer id
    reservation_s: int | None = None
    max_duration_s: int | None = None
    idle_timeout_s: int = 0
    billing: BillingPolicy = field(default_factory=BillingPolicy)
    preserve: bool = False  # its disk outlives its lease, where the provider can keep it
    sole_labels: tuple[str, ...] = ()  # no other active instance of the account may have the same values of all these

    def check(self, policy_max_s: int) -> None:
        """Raise InvalidArgument for what is wrong whatever the market looks like."""
        if bool(self.offer_id) == (self.requirements is not None):
            raise invalid("target", "must be exactly one of offer_id and requirements", self.offer_id or "none")
        validation.check_name(self.name)
        validation.check_labels(self.labels)
        validation.check_env(self.env)
        validation.check_count("ssh_key_ids", self.ssh_key_ids, MAX_SSH_KEYS)
        validation.check_count("ssh_public_keys", self.ssh_public_keys, MAX_SSH_KEYS)
        validation.check_length("image", self.image, 1024)
        self._check_served()
        if (size := len(self.on_start.encode())) > MAX_SCRIPT or "\0" in self.on_start:
            raise invalid("on_start", f"must be at most {MAX_SCRIPT} bytes of text without NUL", f"{size} bytes")
        validation.check_count("ports", self.ports, 32)
        for index, port in enumerate(self.ports):
            if not 1 <= port <= 65535:
                raise invalid(f"ports[{index}]", "must be from 1 to 65535", port)
        if self.max_retries is not None and not 0 <= self.max_retries <= MAX_RETRIES:
            raise invalid("max_retries", f"must be from 0 to {MAX_RETRIES}", self.max_retries)
        if not 0 <= self.disk_gb <= 10_000:
            raise invalid("disk_gb", "must be from 1 to 10000, or 0 for the default", self.disk_gb)
        longest = self.max_duration_s or policy_max_s
        if longest > policy_max_s:
            raise invalid("max_duration", f"must be at most {policy_max_s}s", f"{longest}s")
        if self.reservation_s is not None and self.reservation_s > longest:
            raise invalid("reservation", f"must be at most {longest}s, the hard maximum", f"{self.reservation_s}s")

    def _check_served(self) -> None:
        """A machine that serves does so by a model's name or by an image that needs none."""
        validation.check_length("model", self.model, 255)
        validation.check_length("quantization", self.quantization, 63)
        if self.model and self.mode != "model":
            raise invalid("model", "needs LAUNCH_MODE_MODEL", self.model)
        if self.mode == "model" and not (self.model or self.image):
            raise invalid("model", "is required for LAUNCH_MODE_MODEL without an image", self.model)
        if self.quantization and not self.model:
            raise invalid("quantization", "needs a model", self.quantization)

    def recorded(self, cap: int | None = None, disk_gb: int | None = None, public_keys: Iterable[str] = ()) -> Wish:
        """The part that the instance records, with what the market made of it: at most `cap` an hour, and the disk."""
        return Wish(
            offer_id=self.offer_id, requirements=self.requirements, max_price_nano_per_hour=cap,
            ssh_public_keys=tuple(dict.fromkeys(public_keys)), image=self.image,
            disk_gb=self.disk_gb if disk_gb is None else disk_gb, mode=self.mode, model=self.model,
            quantization=self.quantization, env=dict(self.env), template=self.template, on_start=self.on_start,
            ports=self.ports, max_retries=self._retries(), preserve=self.preserve,
        )  # fmt: skip

    def _retries(self) -> int:
        if self.requirements is None:
            return 0
        return RETRIES if self.max_retries is None else self.max_retries
