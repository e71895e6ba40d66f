"""The instance: one rented machine, from the accepted wish to its final bill, and its moves.

Moves are pure: each returns the new value. That an event is written for every change that callers can see is the
store's rule (ports/store.py), not something a move can forget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.domain.billing import BillingKind, BillingPolicy, Kept
from controlplane.domain.metering import ProviderMeter
from controlplane.domain.offer import Offer
from controlplane.domain.records import replace
from controlplane.domain.requirements import Requirements
from controlplane.domain.state import LIVE, TERMINAL, State, check_transition

BUDGET_EXHAUSTED = "BUDGET_EXHAUSTED"
"""The reason of an end for want of money."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller asked for; never changes, but for SSH keys that are added later. Exactly one of `offer_id` and
    `requirements` is set, neither for a machine that was adopted."""

    offer_id: str = ""
    requirements: Requirements | None = None
    max_price_nano_per_hour: int | None = None
    ssh_public_keys: tuple[str, ...] = ()
    image: str = ""
    disk_gb: int = 0
    mode: str = "ssh"  # ports.provider.LaunchMode; `jupyter` where the provider can, else `ssh`
    model: str = ""
    quantization: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    template: str = ""
    on_start: str = ""
    ports: tuple[int, ...] = ()
    max_retries: int = 0  # how often a machine that did not become usable is replaced
    preserve: bool = False  # what ends by itself, or is finished, is stopped and its disk kept


@dataclass(frozen=True)  # without slots, for the sake of domain.records.replace
class Instance:
    """One rented machine. Times are microseconds; see gpuplane.v1.Instance for what each public field promises."""

    id: str
    account_id: str
    create_operation_id: str
    wish: Wish
    billing: BillingPolicy
    currency: str
    created_at: int
    updated_at: int
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ssh_key_ids: tuple[str, ...] = ()
    state: State = State.ACCEPTED
    state_reason: str = ""
    state_message: str = ""
    revision: int = 0
    # The offer being tried or bought.
    offer_id: str = ""
    provider: str = ""
    gpu_type: str = ""
    gpu_count: int = 0
    vram_gb: int = 0
    cpu_count: int = 0
    memory_gb: int = 0
    disk_gb: int = 0
    region: str = ""
    location: str = ""
    tier: str = ""
    price_nano_per_hour: int = 0
    simulated: bool = False
    host_id: str = ""
    credential_id: str = ""  # of the account, under which it was bought; empty: the deployment's
    # The machine at the provider. `machine_at` is when the provider accepted it (provider cost begins),
    # `gone_at` when it confirmed the end: only that ends reconciliation. `destroy_at` is when the last destroy was
    # about to be sent, while nobody knows what came of it.
    attempt: int = 0
    label: str = ""
    machine_id: str = ""
    machine_at: int | None = None
    start_deadline_at: int | None = None
    run_at: int | None = None
    end_at: int | None = None
    gone_at: int | None = None
    destroy_at: int | None = None
    refused_at: int | None = None  # since when SSH answers and refuses the probe's key
    provider_expire_at: int | None = None  # when the provider will end it
    ssh_host: str = ""
    ssh_port: int = 0
    ssh_user: str = ""
    ssh_host_key: str = ""
    model_url: str = ""  # of the model server, or of Jupyter where that is the wish
    # The lease.
    expire_at: int | None = None
    hard_expire_at: int | None = None
    idle_timeout_s: int = 0
    idle_since: int | None = None
    # The wish to end it: set once, by whoever came first; `force` may be added later.
    stop_reason: str = ""
    stop_message: str = ""
    stop_at: int | None = None
    stop_force: bool = False
    terminate_operation_id: str = ""
    kept: Kept | None = None  # its machine was stopped, and its disk is kept until somebody wants it gone
    # What was posted to the two ledgers, and what budgets hold.
    charged_nano: int = 0
    charged_until: int | None = None
    cost_nano: int = 0
    cost_until: int | None = None
    meter: ProviderMeter | None = None  # None: its price from `machine_at` on
    hold_nano: int = 0
    # What the last look showed.
    seen_at: int | None = None
    missing_since: int | None = None

    @property
    def live(self) -> bool:
        """Counts against quotas."""
        return self.state in LIVE

    @property
    def ending(self) -> bool:
        """Somebody or something asked for its end."""
        return self.stop_at is not None

    @property
    def keeps_disk(self) -> bool:
        """Whether its end, as it is asked for now, leaves the disk: not if somebody wants the machine gone, or there is
        no money left for it."""
        return (
            self.wish.preserve and self.run_at is not None and not self.stop_force
            and not self.terminate_operation_id and self.stop_reason != BUDGET_EXHAUSTED
        )  # fmt: skip

    @property
    def settled(self) -> bool:
        """Nothing is left to do: ended, and nothing remains at a provider."""
        return self.state in TERMINAL and (self.gone_at is not None or not self.label)

    def to(self, state: State, now: int, reason: str = "", message: str = "") -> Instance:
        """In the next state; the table must allow it."""
        check_transition(self.state, state)
        return replace(
            self,
            state=state,
            state_reason=reason,
            state_message=message,
            updated_at=now,
            run_at=now if state is State.RUNNING and self.run_at is None else self.run_at,
            end_at=now if state in TERMINAL else self.end_at,
        )

    def reservation_begun(self) -> Instance:
        """On entering RUNNING: what is prepaid can be used whole, so a prepaid reservation and its hard maximum end
        later by the time that the machine took to come up."""
        if self.billing.kind is not BillingKind.PREPAID or self.run_at is None:
            return self
        wait = self.run_at - self.created_at
        return replace(
            self,
            expire_at=None if self.expire_at is None else self.expire_at + wait,
            hard_expire_at=None if self.hard_expire_at is None else self.hard_expire_at + wait,
        )

    def expecting(self, offer: Offer) -> Instance:
        """With the facts of the offer that will be tried first, shown until the first attempt: callers see from the
        beginning what they are about to get."""
        return replace(
            self,
            gpu_type=offer.gpu_type,
            gpu_count=offer.gpu_count,
            vram_gb=offer.vram_gb,
            region=offer.region,
            location=offer.location,
            tier=offer.tier.value,
            price_nano_per_hour=offer.price_nano_per_hour,
            simulated=offer.simulated,
        )

    def trying(self, offer: Offer, attempt: int, label: str, credential_id: str, now: int) -> Instance:
        """About to ask for an offer: recorded before the provider hears of it."""
        meter = offer.meter
        return replace(
            self,
            attempt=attempt,
            label=label,
            machine_id="",
            machine_at=None,
            cost_nano=0,
            cost_until=None,
            meter=None if meter is None else replace(meter, since=now, ran_at=now),
            missing_since=None,
            destroy_at=None,
            refused_at=None,
            provider_expire_at=None,
            ssh_host_key="",
            updated_at=now,
            offer_id=offer.id,
            provider=offer.provider,
            gpu_type=offer.gpu_type,
            gpu_count=offer.gpu_count,
            vram_gb=offer.vram_gb,
            cpu_count=offer.cpu_count,
            memory_gb=offer.memory_gb,
            disk_gb=self.wish.disk_gb,
            region=offer.region,
            location=offer.location,
            tier=offer.tier.value,
            price_nano_per_hour=offer.price_nano_per_hour,
            simulated=offer.simulated,
            host_id=offer.host_id,
            credential_id=credential_id,
        )

    def made(self, machine_id: str, at: int, price_nano_per_hour: int | None = None) -> Instance:
        """With a machine that the provider made at `at`, which costs from then on; at another price than the offer's
        where one was agreed on."""
        price = self.price_nano_per_hour if price_nano_per_hour is None else price_nano_per_hour
        meter = None if self.meter is None else replace(self.meter.begun(at), price=price)
        return replace(
            self, machine_id=machine_id, machine_at=at, meter=meter, missing_since=None, price_nano_per_hour=price
        )

    def stopped_and_kept(self, nano_per_hour: int, now: int) -> Instance:
        """With its machine at rest, as was asked for: the wish to end is met, and only somebody who wants it
        gone, or an empty budget, ends it. A machine that had to be stopped again costs no more for it."""
        row = self.to(State.STOPPED, now, self.stop_reason, f"{self.stop_message}; its disk is kept")
        return replace(
            row, stop_at=None, stop_reason="", stop_message="", idle_since=None,
            kept=self.kept or Kept(now, nano_per_hour),
        )  # fmt: skip

    def with_key(self, line: str, now: int) -> Instance:
        """With one more SSH key in its wish, for this machine and any that takes its place."""
        keys = tuple(dict.fromkeys((*self.wish.ssh_public_keys, line)))
        return replace(self, wish=replace(self.wish, ssh_public_keys=keys), updated_at=now)

    def without_key(self, line: str, now: int) -> Instance:
        """Without that SSH key in its wish."""
        keys = tuple(each for each in self.wish.ssh_public_keys if each != line)
        return replace(self, wish=replace(self.wish, ssh_public_keys=keys), updated_at=now)

    def ask_to_end(self, reason: str, message: str, now: int, *, force: bool = False) -> Instance:
        """With the wish to end recorded; the first reason stays, force adds up."""
        if self.state in TERMINAL:
            return self
        if self.ending:
            return replace(self, stop_force=self.stop_force or force)
        return replace(self, stop_reason=reason, stop_message=message, stop_at=now, stop_force=force)
