"""TensorDock's API, version 2 (providers.md section 3).

Machines come up within seconds here unless the switches say otherwise; at the real one the address takes 5 to 30 s and
cloud-init, which alone installs keys, 60 to 90 s more: `{"boot_s": [5, 30], "keys_after_s": 75}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controlplane.simulators.calls import Call, Refusal, Route
from controlplane.simulators.clock import Clock
from controlplane.simulators.control import price
from controlplane.simulators.faults import Misuse
from controlplane.simulators.ledger import Bill
from controlplane.simulators.limits import Limited
from controlplane.simulators.machines import Tenancy
from controlplane.simulators.marketplace import Marketplace
from controlplane.simulators.tensordock import answers, rows
from controlplane.simulators.tensordock.catalogue import new_uuid
from controlplane.simulators.tensordock.inventory import Inventory, NoRoom
from controlplane.simulators.tensordock.machine import VirtualMachine, rented
from controlplane.simulators.tensordock.orders import SSH_USER, Modification, Order, OrderBody, plain_order
from controlplane.simulators.tensordock.secrets import Secrets
from controlplane.simulators.wire import Request, Response, json_response

BASE = "/api/v2"
START_BALANCE_NANO = 1_000_000_000_000_000
MIN_BALANCE_NANO = 1_000_000_000
DELETED_AFTER_S = 3 * 86_400.0  # with nothing left on the account
_ID = r"(?P<id>[^/]+)"
_PER_MINUTE = Limited(calls=100, window_s=60.0, shared="organisation")
_SEARCHES = frozenset({"locations", "hostnodes"})


class TensordockMarketplace(Marketplace[VirtualMachine]):
    """A TensorDock to rehearse against. Billing: the full price per second from creation while it is not stopped, the
    storage alone while it is; nothing after the deletion.
    """

    name = "tensordock"
    ssh_user = SSH_USER
    search_endpoints = _SEARCHES

    def __init__(self, clock: Clock, *, offers: int = 60, **options: Any) -> None:
        self._secrets = Secrets()
        super().__init__(clock, **options)
        self._offers = offers
        self.restock()

    def restock(self) -> None:
        """See `Marketplace.restock`."""
        self.inventory = Inventory(self.rng, self._offers)
        self.credit_nano = START_BALANCE_NANO  # paid in so far
        self._secrets.clear()
        self._broke_since: float | None = None

    def routes(self) -> Sequence[Route]:
        """See `Marketplace.routes`."""
        return (
            Route("GET", f"{BASE}/locations", "locations", self._locations),
            Route("GET", f"{BASE}/hostnodes", "hostnodes", self._hostnodes),
            Route("GET", f"{BASE}/hostnodes/{_ID}", "hostnode", self._hostnode),
            Route("POST", f"{BASE}/instances", "create", self._create),
            Route("GET", f"{BASE}/instances", "list", self._list),
            Route("GET", f"{BASE}/instances/{_ID}", "show", self._show),
            Route("DELETE", f"{BASE}/instances/{_ID}", "destroy", self._destroy),
            Route("POST", f"{BASE}/instances/{_ID}/start", "start", self._start),
            Route("POST", f"{BASE}/instances/{_ID}/stop", "stop", self._stop),
            Route("PUT", f"{BASE}/instances/{_ID}/modify", "modify", self._modify),
            Route("GET", f"{BASE}/secrets", "secrets", self._secrets.list),
            Route("POST", f"{BASE}/secrets", "add_secret", self._secrets.add),
            Route("DELETE", f"{BASE}/secrets/{_ID}", "delete_secret", self._secrets.delete),
        )

    # The rules that the base asks for.

    def row(self, machine: VirtualMachine, now: float) -> dict[str, Any]:
        """See `Marketplace.row`."""
        shown = machine.shows_address(now, self.faults)
        address = self.premises.address(machine.id, machine.version) if shown else None
        return rows.instance(machine, machine.status(now), address)

    def bill(self, machine: VirtualMachine, now: float) -> Bill:
        """See `Marketplace.bill`."""
        return machine.bill(now)

    def tenancy(self, machine: VirtualMachine, now: float) -> Tenancy:
        """See `Marketplace.tenancy`."""
        keys = tuple(machine.keys) if machine.accepts_keys(now, self.faults) else ()
        return Tenancy(machine.id, SSH_USER, keys, machine.listens(now, self.faults), machine.version)

    def limit_of(self, endpoint: str) -> Limited:
        """See `Marketplace.limit_of`."""
        return _PER_MINUTE

    def too_many(self, form: str, retry_after_s: int) -> Response:
        """See `Marketplace.too_many`."""
        return answers.too_many(form, retry_after_s)

    def unauthorized(self, form: str) -> Response:
        """See `Marketplace.unauthorized`."""
        if form == "403":
            return answers.errors(403, "Forbidden", "The token has no access to this resource")
        return answers.errors(401, "Unauthorized", "Invalid or missing API token")

    def credential(self, request: Request) -> str:
        """See `Marketplace.credential`. In the query it is an authorization id and a token, both."""
        if request.first("api_key") and request.first("api_token"):
            return request.first("api_token")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        search = request.path.rstrip("/").rpartition("/")[2] in _SEARCHES
        refused = scheme.lower() != "bearer" or (search and self.faults.query_key_only)
        return "" if refused else token.strip()

    def not_found(self, request: Request) -> Response:
        """See `Marketplace.not_found`."""
        return answers.errors(404, "Not Found", "No such route")

    def bad_body(self) -> Response:
        """See `Marketplace.bad_body`."""
        return answers.invalid([{"code": "invalid_type", "message": "Expected object", "path": []}])

    def advance(self, now: float) -> None:
        """See `Marketplace.advance`: an account with nothing left has its machines stopped and, later, deleted."""
        if self.balance_nano(now) > 0:
            self._broke_since = None
            return
        if self._broke_since is None:
            self._broke_since = now
        for machine in self.alive():
            if now >= self._broke_since + DELETED_AFTER_S:
                self._end(machine, now)
            elif machine.stop_asked_at is None and not machine.disassociated:
                machine.stop(now, self.faults)

    def balance_nano(self, now: float) -> int:
        """What is left on the account."""
        return self.credit_nano - self.billed_nano(now)

    def set_balance(self, usd: float) -> None:
        """See `Marketplace.set_balance`."""
        self.credit_nano += round(usd * 1e9) - self.balance_nano(self.clock.now())

    # Stock.

    def _locations(self, call: Call) -> Response:
        answer = json_response(200, {"data": {"locations": rows.locations(self.inventory.nodes, call.now)}})
        if "price_rise" in call.faults:
            self.inventory.raise_prices(self.faults)
        return answer

    def _hostnodes(self, call: Call) -> Response:
        found = [rows.hostnode(node, call.now) for node in self.inventory.nodes if node.gpus.listed(call.now)]
        return json_response(200, {"data": {"hostnodes": found}})

    def _hostnode(self, call: Call) -> Response:
        node = self.inventory.node(call.path["id"])
        if node is None:
            return answers.errors(404, "Not Found", "Hostnode not found")
        return json_response(200, {"data": rows.hostnode(node, call.now)})

    # Machines.

    def _create(self, call: Call) -> Response:
        order = answers.parsed(OrderBody, call).data.attributes
        if self.balance_nano(call.now) < MIN_BALANCE_NANO:
            return answers.failed(answers.LOW_BALANCE)
        if order.ssh_key_id is not None and order.ssh_key_id not in self._secrets:
            return answers.errors(404, "Not Found", "SSH key not found")
        if order.hostnode_id is not None and self.inventory.node(order.hostnode_id) is None:
            return answers.errors(404, "Not Found", "Hostnode not found")
        if "rival" in call.faults:
            self.inventory.lose_to_rival(order, call.now, self.faults)
        try:
            machine = self._rent(order, call)
        except NoRoom as no_room:
            return answers.failed(str(no_room))
        if "created_with_error" in call.faults:
            return answers.failed("Failed to start virtual machine", status=500)
        return json_response(200, rows.created(machine))

    def _rent(self, order: Order, call: Call) -> VirtualMachine:
        if "stockout" in call.faults:
            raise Refusal(self._stockout(order))
        return self._place(order, call.now, call.faults)

    def _place(self, order: Order, now: float, hits: frozenset[str]) -> VirtualMachine:
        node = self.inventory.place(order, now)
        machine = rented(new_uuid(self.rng), order, node, now, rng=self.rng, faults=self.faults, hits=hits)
        self.inventory.take(node, order, now, self.faults)
        self.machines[machine.id] = machine
        return machine

    def _stockout(self, order: Order) -> Response:
        form = self.faults.stockout_form
        http_status = self.rng.choice((200, 400)) if form == "any" else int(form)
        words = (answers.NO_NODES, answers.NO_ADDRESSES) if order.use_dedicated_ip else (answers.NO_NODES,)
        return answers.failed(self.rng.choice(words), http_status=http_status)

    def _list(self, call: Call) -> Response:
        found = [self.row(machine, call.now) for machine in self.listed(call.now)]
        form = self.faults.list_form
        form = self.rng.choice(tuple(rows.LIST_FORMS)) if form == "any" else form
        return json_response(200, rows.LIST_FORMS[form](self.shuffled_rows(found, call)))

    def _show(self, call: Call) -> Response:
        return json_response(200, self.row(self._machine(call), call.now))

    def _destroy(self, call: Call) -> Response:
        machine = self._machine(call, at_once=True)
        self._end(machine, call.now)
        return json_response(200, {"data": {"type": "success", "id": machine.id}})

    def _start(self, call: Call) -> Response:
        machine = self._machine(call)
        if machine.status(call.now) != "Stopped":
            return answers.errors(409, "Conflict", "The virtual machine is not stopped")
        if "start_refused" in call.faults:
            machine.disassociated = True
        else:
            boot_s = self.rng.uniform(*self.faults.boot_s)
            machine.start(call.now, boot_s, new_address=self.faults.address_changes)
        return json_response(200, rows.transition(machine, "starting"))

    def _stop(self, call: Call) -> Response:
        machine = self._machine(call)
        if machine.stop_asked_at is not None:
            return answers.errors(409, "Conflict", "The virtual machine is not running")
        machine.stop(call.now, self.faults)
        return json_response(200, rows.transition(machine, "stopping"))

    def _modify(self, call: Call) -> Response:
        machine, change = self._machine(call), answers.parsed(Modification, call)
        if not machine.status(call.now).startswith("Stopped"):
            return answers.errors(409, "Conflict", "The virtual machine must be stopped first")
        machine.resize(change, call.now)
        return json_response(200, rows.transition(machine, machine.status(call.now)))

    def _machine(self, call: Call, *, at_once: bool = False) -> VirtualMachine:
        """The machine that a path names. `at_once`: also one that reads do not find yet."""
        machine = self.machines.get(call.path["id"])
        late_s = 0.0 if at_once else self.faults.get_delay_s
        if machine is None or machine.ended_at is not None or call.now < machine.created_at + late_s:
            raise Refusal(answers.errors(404, "Not Found", "Instance not found"))
        return machine

    def _end(self, machine: VirtualMachine, now: float) -> None:
        self.end(machine, now)
        self.inventory.give_back(machine.node, machine.order)

    # What the control surface asks for.

    def offers_json(self) -> list[dict[str, Any]]:
        """See `Marketplace.offers_json`."""
        return self.inventory.offers_json(self.clock.now())

    def add_offer(self, values: Mapping[str, Any]) -> str:
        """See `Marketplace.add_offer`: `gpu` (a v0Name), `gpus` and `price_usd_per_hour` of one GPU."""
        return self.inventory.add(values, price(values, "price_usd_per_hour"))

    def withdraw_offer(self, offer_id: str) -> None:
        """See `Marketplace.withdraw_offer`."""
        self.inventory.withdraw(offer_id, self.clock.now(), self.faults)

    def reprice_offer(self, offer_id: str, usd_per_hour: float) -> None:
        """See `Marketplace.reprice_offer`: the price of one GPU."""
        self.inventory.reprice(offer_id, usd_per_hour)

    def add_orphan(self, label: str) -> str:
        """See `Marketplace.add_orphan`."""
        now = self.clock.now()
        node = next((node for node in self.inventory.nodes if node.gpus.free(now)), None)
        if node is None:
            raise Misuse("label", "needs an offer that can be rented, and there is none", label)
        try:
            return self._place(plain_order(label, node.id, node.gpu.v0_name), now, frozenset()).id
        except NoRoom as no_room:
            raise Misuse("label", f"cannot be placed ({no_room})", label) from None

    def preempt(self, machine: VirtualMachine) -> None:
        """See `Marketplace.preempt`: there is no spot here."""
        raise Misuse("id", "must be a machine of a marketplace with spot prices; TensorDock has none", machine.id)

    def lose_host(self, machine: VirtualMachine) -> None:
        """See `Marketplace.lose_host`."""
        machine.lose(self.clock.now(), self.rng, self.faults)
