"""What a simulated marketplace has to provide: its API, its bills, its refusals, and what may be steered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from controlplane.simulators.calls import Route
from controlplane.simulators.faults import Misuse
from controlplane.simulators.ledger import Bill
from controlplane.simulators.limits import Limited
from controlplane.simulators.machines import Tenancy
from controlplane.simulators.wire import Request, Response


@dataclass
class RentedMachine:
    """What every model knows of a machine. Ids are text here, whatever they are on the wire; times are epoch
    seconds. `keys` are the lines of its authorized_keys.
    """

    id: str
    label: str
    created_at: float
    keys: list[str] = field(default_factory=list)
    ended_at: float | None = None
    version: int = 1  # of its address


M = TypeVar("M", bound=RentedMachine)


class Model(ABC, Generic[M]):
    """One marketplace. What it does with a call is `Marketplace`'s."""

    name: str
    ssh_user = "root"  # who logs in to its machines
    search_endpoints: frozenset[str] = frozenset()  # whose rows may be absurd
    status_keys: frozenset[str] = frozenset({"status"})  # the members that hold a machine's state

    @abstractmethod
    def routes(self) -> Sequence[Route]:
        """The calls of its API."""

    @abstractmethod
    def row(self, machine: M, now: float) -> dict[str, Any]:
        """A machine as its API tells it: a pure function of the machine's plan and the time."""

    @abstractmethod
    def bill(self, machine: M, now: float) -> Bill:
        """What a machine has cost so far, to the microsecond of the simulator's clock."""

    @abstractmethod
    def tenancy(self, machine: M, now: float) -> Tenancy:
        """Who can log in to a machine now."""

    @abstractmethod
    def limit_of(self, endpoint: str) -> Limited:
        """The documented rate limit of a call."""

    @abstractmethod
    def too_many(self, form: str, retry_after_s: int) -> Response:
        """429 as "text" or "json"."""

    @abstractmethod
    def unauthorized(self, form: str) -> Response:
        """A missing or bad key, refused in the form that `Faults.auth_form` names; "none": no key came, and no form is
        asked for."""

    @abstractmethod
    def credential(self, request: Request) -> str:
        """The key a request brings; empty: none."""

    @abstractmethod
    def not_found(self, request: Request) -> Response:
        """No such path."""

    @abstractmethod
    def bad_body(self) -> Response:
        """The body is no JSON object."""

    @abstractmethod
    def offers_json(self) -> list[dict[str, Any]]:
        """The offers as the control surface tells them, each with `id`, `price_usd_per_hour` and `available`."""

    @abstractmethod
    def add_offer(self, values: Mapping[str, Any]) -> str:
        """Put one more offer on sale and return its id. Raises Misuse."""

    @abstractmethod
    def withdraw_offer(self, offer_id: str) -> None:
        """Take an offer off the market. Raises Misuse for an unknown one."""

    @abstractmethod
    def reprice_offer(self, offer_id: str, usd_per_hour: float) -> None:
        """Change the price at which an offer is rented from now on. Raises Misuse for an unknown one."""

    @abstractmethod
    def add_orphan(self, label: str) -> str:
        """A running machine that nobody asked for through the API; returns its id."""

    @abstractmethod
    def preempt(self, machine: M) -> None:
        """Take a machine back from its tenant, now. Raises Misuse where it cannot happen."""

    @abstractmethod
    def lose_host(self, machine: M) -> None:
        """The machine's host stops answering, now."""

    @abstractmethod
    def restock(self) -> None:
        """Fresh offers, keys and balance; called by `reset`."""

    def advance(self, now: float) -> None:
        """What happens by itself as time passes and is no pure function of a machine's plan; called before
        each call.
        """

    def set_balance(self, usd: float) -> None:
        """What is left to spend. Raises Misuse where a marketplace has no such thing."""
        raise Misuse("usd", f"{self.name} keeps no balance", usd)

    def extra_call(self, request: Request) -> Response | None:
        """Paths beside the API that neither faults nor limits touch; None: not one of them."""
        return None
