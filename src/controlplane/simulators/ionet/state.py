"""The simulated io.net without its API: what is rented, paid and over."""

from __future__ import annotations

import uuid
from abc import ABC
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any

from controlplane.simulators.calls import Call, Refusal
from controlplane.simulators.clock import Clock
from controlplane.simulators.control import price
from controlplane.simulators.faults import Misuse
from controlplane.simulators.ionet import answers, rows
from controlplane.simulators.ionet.catalogue import Hardware, Location
from controlplane.simulators.ionet.deployment import Deployment, deployed
from controlplane.simulators.ionet.inventory import Inventory, Product
from controlplane.simulators.ionet.orders import ContainerOrder, VmOrder
from controlplane.simulators.ledger import Bill
from controlplane.simulators.limits import Limited
from controlplane.simulators.machines import Address, Tenancy
from controlplane.simulators.marketplace import Marketplace
from controlplane.simulators.wire import Request, Response

START_CREDITS_NANO = 1_000_000_000_000_000
RETAINED_S = 3600.0  # an ended deployment stays in the list; bounded, so that long rehearsals do not page for ever
_PER_MINUTE = Limited(calls=300, window_s=60.0, shared="key")


class IonetState(Marketplace[Deployment], ABC):
    """Deployments of VMs and containers, and the account that pays for them in advance."""

    name = "ionet"
    ssh_user = rows.SSH_USER
    search_endpoints = frozenset({"hardware", "price", "availability"})

    def __init__(self, clock: Clock, *, offers: int = 60, **options: Any) -> None:
        super().__init__(clock, **options)
        self._offers = offers
        self.restock()

    def restock(self) -> None:
        """See `Marketplace.restock`."""
        self.inventory = Inventory(self.rng, self._offers)
        self.credit_nano = START_CREDITS_NANO  # paid in so far

    # Deployments.

    def rent(
        self, order: VmOrder | ContainerOrder, hardware: Hardware, place: Location, now: float, hits: frozenset[str]
    ) -> Deployment:
        """A new deployment, paid for."""
        asked_id = order.resource_id if isinstance(order, ContainerOrder) else None
        deployment_id = asked_id or str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        deployment = deployed(
            deployment_id, order, hardware, place, now, rng=self.rng, faults=self.faults, hits=hits
        )  # fmt: skip
        hardware.replicas[place].take(deployment.replicas, now, self.faults)
        self.machines[deployment.id] = deployment
        return deployment

    def found(self, call: Call, product: Product, *, at_once: bool = False) -> Deployment:
        """The deployment that a path names, ended ones included. `at_once`: also one that reads do not find yet.
        Raises Refusal.
        """
        deployment_id = call.path["id"]
        deployment = self.machines.get(deployment_id)
        if deployment is None and deployment_id in self.settled:
            deployment = self.settled[deployment_id][0]
        late_s = 0.0 if at_once else self.faults.get_delay_s
        if deployment is None or product_of(deployment) != product or call.now < deployment.created_at + late_s:
            raise Refusal(answers.not_found())
        return deployment

    def shown(self, product: Product, now: float) -> list[Deployment]:
        """What a list holds: the newest first, ended ones for a while."""
        late = self.faults.listing_delay_s
        both = [*(one for one in self.alive() if now >= one.created_at + late), *self._recently_over(now)]
        mine = [deployment for deployment in both if product_of(deployment) == product]
        return sorted(mine, key=lambda one: (one.created_at, one.id), reverse=True)

    def balance_nano(self, now: float) -> int:
        """Credits left."""
        return self.credit_nano - self.billed_nano(now)

    def address(self, deployment: Deployment, now: float) -> Address | None:
        """Where its SSH is, once the API tells."""
        if not deployment.ready(now, self.faults.ports_after_s):
            return None
        return self.premises.address(deployment.id, deployment.version)

    def _recently_over(self, now: float) -> Iterator[Deployment]:
        for deployment, _ in reversed(self.settled.values()):
            if deployment.ended_at is None or deployment.ended_at < now - RETAINED_S:
                return
            yield deployment

    # The rules that the base asks for.

    def row(self, machine: Deployment, now: float) -> dict[str, Any]:
        """See `Marketplace.row`."""
        return rows.details(machine, now, self.faults.clock_skew_s)

    def bill(self, machine: Deployment, now: float) -> Bill:
        """See `Marketplace.bill`."""
        return machine.bill(now)

    def tenancy(self, machine: Deployment, now: float) -> Tenancy:
        """See `Marketplace.tenancy`."""
        ssh_s = self.faults.ports_after_s + self.faults.ssh_after_s
        listening = product_of(machine) == Product.VM and machine.ready(now, ssh_s) and not machine.away(now)
        keys = tuple(machine.keys) if machine.ready(now, ssh_s + self.faults.keys_after_s) else ()
        return Tenancy(machine.id, rows.SSH_USER, keys, listening, machine.version)

    def limit_of(self, endpoint: str) -> Limited:
        """See `Marketplace.limit_of`."""
        return _PER_MINUTE

    def too_many(self, form: str, retry_after_s: int) -> Response:
        """See `Marketplace.too_many`."""
        return answers.too_many(form, retry_after_s)

    def unauthorized(self, form: str) -> Response:
        """See `Marketplace.unauthorized`."""
        return answers.unauthorized(form)

    def credential(self, request: Request) -> str:
        """See `Marketplace.credential`."""
        return request.headers.get("x-api-key", "")

    def not_found(self, request: Request) -> Response:
        """See `Marketplace.not_found`."""
        return answers.no_route()

    def bad_body(self) -> Response:
        """See `Marketplace.bad_body`."""
        return answers.invalid([{"loc": ["body"], "msg": "Input should be a valid dictionary", "type": "dict_type"}])

    def advance(self, now: float) -> None:
        """See `Marketplace.advance`: what is over by now ends at the time it was due."""
        due = [(*deployment.over(self.faults), deployment) for deployment in self.alive()]
        for at, word, deployment in sorted((one for one in due if one[0] <= now), key=itemgetter(0)):
            self._end(deployment, at, word)

    def _end(self, deployment: Deployment, at: float, word: str) -> None:
        deployment.refunded_nano += deployment.refund(at, self.faults) if word != "completed" else 0
        deployment.final = word
        self.end(deployment, at)
        del self.machines[deployment.id]
        deployment.hardware.replicas[deployment.place].give(deployment.replicas)

    # What the control surface asks for.

    def offers_json(self) -> list[dict[str, Any]]:
        """See `Marketplace.offers_json`."""
        return self.inventory.offers_json(self.clock.now())

    def add_offer(self, values: Mapping[str, Any]) -> str:
        """See `Marketplace.add_offer`: `product`, `name`, `gpus`, `replicas` and `price_usd_per_hour` of all GPUs."""
        return self.inventory.add(values, price(values, "price_usd_per_hour"))

    def withdraw_offer(self, offer_id: str) -> None:
        """See `Marketplace.withdraw_offer`."""
        self.inventory.withdraw(offer_id, self.clock.now(), self.faults)

    def reprice_offer(self, offer_id: str, usd_per_hour: float) -> None:
        """See `Marketplace.reprice_offer`."""
        self.inventory.reprice(offer_id, usd_per_hour)

    def add_orphan(self, label: str) -> str:
        """See `Marketplace.add_orphan`: a VM with one hour paid."""
        now = self.clock.now()
        free = ((item, place) for item, place in self.inventory.rows(Product.VM) if item.replicas[place].free(now))
        item, place = next(free, (None, None))
        if item is None or place is None:
            raise Misuse("label", "needs an offer that can be rented, and there is none", label)
        order = VmOrder(resource_private_name=label, hardware_id=item.number, duration_hours=1, gpus_per_vm=item.gpus)
        return self.rent(order, item, place, now, frozenset()).id

    def preempt(self, machine: Deployment) -> None:
        """See `Marketplace.preempt`: there is no spot here."""
        raise Misuse("id", "must be a machine of a marketplace with spot prices; io.net has none", machine.id)

    def lose_host(self, machine: Deployment) -> None:
        """See `Marketplace.lose_host`."""
        machine.lose(self.clock.now(), self.rng, self.faults)

    def set_balance(self, usd: float) -> None:
        """See `Marketplace.set_balance`."""
        self.credit_nano += round(usd * 1e9) - self.balance_nano(self.clock.now())


def product_of(deployment: Deployment) -> Product:
    """Which of the two it is."""
    return Product.VM if isinstance(deployment.order, VmOrder) else Product.CONTAINER
