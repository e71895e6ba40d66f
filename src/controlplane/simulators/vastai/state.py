"""State of the simulated Vast.ai, and what the control surface does to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from controlplane.simulators.clock import Clock
from controlplane.simulators.faults import Faults, Misuse
from controlplane.simulators.ledger import Bill
from controlplane.simulators.limits import Limited
from controlplane.simulators.machines import Premises, Tenancy
from controlplane.simulators.marketplace import Marketplace
from controlplane.simulators.plans import host_loss
from controlplane.simulators.vastai import errors, rows
from controlplane.simulators.vastai.asks import FIRST_ASK, GPUS, Ask, catalogue, new_ask
from controlplane.simulators.vastai.contract import Contract
from controlplane.simulators.vastai.templates import template_rows
from controlplane.simulators.wire import Request, Response

_CREDIT_NANO = 1_000_000_000_000_000  # a million dollars: rehearsals do not run dry unless told to
_FIRST_CONTRACT = 31_900_400
_MOMENT_S = 1e-5
_ORPHAN_NANO = 310_000_000
_LIMITS = {
    "search": Limited(calls=10),
    "create": Limited(4.5, 12.0),
    "destroy": Limited(3.0),
    "get": Limited(2.0),
    "list": Limited(1.0),
    "manage": Limited(1.0),
    "bid": Limited(5.5),
    "templates": Limited(3.0),
    "charges": Limited(1.0),
    "logs": Limited(1.5),
    "attach_key": Limited(1.0),
    "detach_key": Limited(2.0),
}


class VastState(Marketplace[Contract]):
    """Asks, contracts, the account, and the life of contracts. Its API is `VastMarketplace`."""

    name = "vastai"
    search_endpoints = frozenset({"search"})
    status_keys = frozenset({"actual_status"})

    def __init__(
        self,
        clock: Clock,
        *,
        seed: int = 0,
        faults: Faults | None = None,
        keys: Sequence[str] = (),
        premises: Premises | None = None,
        offers: int = 60,
    ) -> None:
        super().__init__(clock, seed=seed, faults=faults, keys=keys, premises=premises)
        self._offers = offers
        self.restock()

    def restock(self) -> None:
        """See `Marketplace.restock`."""
        self.asks: dict[int, Ask] = {ask.id: ask for ask in catalogue(self.seed, self._offers)}
        self.templates: list[dict[str, Any]] = template_rows(self.clock.now())
        self.account_keys: dict[int, str] = {}
        self.credit_nano = _CREDIT_NANO
        self._may_run_dry = False
        self.failing: dict[str, str] = {}  # "create" and "destroy": refused in these words
        self.searches: dict[int, int] = {}  # by day
        self.log_results: dict[str, tuple[float, str]] = {}  # when it is there, and the log, by the token of its URL
        self._last_contract = _FIRST_CONTRACT
        self._last_key = 8_000

    def next_contract_id(self) -> str:
        """Ids only ever rise."""
        self._last_contract += 17
        return str(self._last_contract)

    def next_key_id(self) -> int:
        """An SSH key's id."""
        self._last_key += 1
        return self._last_key

    def balance_nano(self, now: float) -> int:
        """What is left of the credit."""
        return self.credit_nano - self.billed_nano(now)

    def destroy(self, contract: Contract, now: float) -> None:
        """End a contract; its offer can be had again."""
        contract.halt(now)
        self.end(contract, now)
        if contract.ask is not None:
            contract.ask.held -= 1

    def row(self, machine: Contract, now: float) -> dict[str, Any]:
        """See `Marketplace.row`."""
        at = now if machine.ended_at is None else machine.ended_at - _MOMENT_S  # a list that lags shows what was
        return rows.instance_row(machine, at, self.faults, self.premises.address(machine.id, machine.version))

    def bill(self, machine: Contract, now: float) -> Bill:
        """See `Marketplace.bill`."""
        return machine.bill_at(now)

    def tenancy(self, machine: Contract, now: float) -> Tenancy:
        """See `Marketplace.tenancy`."""
        return rows.tenancy(machine, now, self.faults)

    def limit_of(self, endpoint: str) -> Limited:
        """See `Marketplace.limit_of`."""
        return _LIMITS.get(endpoint, Limited())

    def too_many(self, form: str, retry_after_s: int) -> Response:
        """See `Marketplace.too_many`."""
        return errors.too_many(form, retry_after_s)

    def unauthorized(self, form: str) -> Response:
        """See `Marketplace.unauthorized`."""
        return errors.unauthorized(form)

    def credential(self, request: Request) -> str:
        """See `Marketplace.credential`."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" else request.first("api_key")

    def not_found(self, request: Request) -> Response:
        """See `Marketplace.not_found`."""
        return errors.error(404, "not_found", f"No such path: {request.path[:100]}")

    def bad_body(self) -> Response:
        """See `Marketplace.bad_body`."""
        return errors.error(400, "invalid_args", "The body must be a JSON object.")

    def offers_json(self) -> list[dict[str, Any]]:
        """See `Marketplace.offers_json`."""
        now = self.clock.now()
        return [
            {
                "id": str(ask.id),
                "gpu_name": ask.gpu.name,
                "num_gpus": ask.num_gpus,
                "price_usd_per_hour": ask.price_nano() / 1e9,
                "units": ask.units,
                "available": ask.is_free(now),
            }
            for ask in self.asks.values()
        ]

    def add_offer(self, values: Mapping[str, Any]) -> str:
        """{"gpu_name", "num_gpus", "usd_per_hour", "units"}, each optional."""
        gpu = next((gpu for gpu in GPUS if gpu.name == values.get("gpu_name", "RTX 4090")), None)
        if gpu is None:
            raise Misuse("gpu_name", f"must be one of {', '.join(gpu.name for gpu in GPUS)}", values["gpu_name"])
        number = max(self.asks, default=FIRST_ASK) + 1 - FIRST_ASK
        ask = new_ask(number, gpu, _count(values, "num_gpus"), Random(f"ask/{self.seed}/{number}"))
        ask.verification, ask.units = "verified", _count(values, "units")
        self.asks[ask.id] = ask
        if "usd_per_hour" in values:
            self.reprice_offer(str(ask.id), values["usd_per_hour"])
        return str(ask.id)

    def withdraw_offer(self, offer_id: str) -> None:
        """See `Marketplace.withdraw_offer`."""
        del self.asks[self._ask(offer_id).id]

    def reprice_offer(self, offer_id: str, usd_per_hour: float) -> None:
        """See `Marketplace.reprice_offer`."""
        ask = self._ask(offer_id)
        ask.base_nano, ask.risen_percent = round(usd_per_hour * 1e9), 0.0
        ask.min_bid_nano = min(ask.min_bid_nano, ask.base_nano)

    def add_orphan(self, label: str) -> str:
        """See `Marketplace.add_orphan`."""
        now = self.clock.now()
        contract = Contract(self.next_contract_id(), label, now, gpu_nano=_ORPHAN_NANO)
        contract.order = {"image": "nvidia/cuda:12.4.1-base-ubuntu22.04", "runtype": "ssh_direc ssh_proxy"}
        contract.plan_run(now, 0.0)
        self.machines[contract.id] = contract
        return contract.id

    def preempt(self, machine: Contract) -> None:
        """See `Marketplace.preempt`."""
        if not machine.bid:
            raise Misuse("id", "must be an interruptible instance", machine.id)
        machine.take_back(self.clock.now())

    def lose_host(self, machine: Contract) -> None:
        """See `Marketplace.lose_host`."""
        machine.lose_host(*host_loss(self.clock.now(), self.rng, self.faults))

    def set_balance(self, usd: float) -> None:
        """See `Marketplace.set_balance`."""
        self.credit_nano += round(usd * 1e9) - self.balance_nano(self.clock.now())
        self._may_run_dry = True

    def advance(self, now: float) -> None:
        """An account without credit has its instances stopped."""
        if self._may_run_dry and self.balance_nano(now) <= 0:
            for contract in self.alive():
                contract.intended = "stopped"
                contract.halt(now)

    def _ask(self, offer_id: str) -> Ask:
        ask = self.asks.get(int(offer_id)) if offer_id.isdecimal() else None
        if ask is None:
            raise Misuse("id", "must be the id of an offer", offer_id)
        return ask


def _count(values: Mapping[str, Any], name: str) -> int:
    count = values.get(name, 1)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 1024:
        raise Misuse(name, "must be a whole number from 1 to 1024", count)
    return count
