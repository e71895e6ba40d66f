"""Creating instances on the simulated Vast.ai."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controlplane.simulators.calls import Call, Refusal, Route
from controlplane.simulators.machines import keys_in
from controlplane.simulators.plans import host_loss, stuck_form
from controlplane.simulators.vastai.asks import Ask
from controlplane.simulators.vastai.contract import Contract
from controlplane.simulators.vastai.errors import error, no_funds, no_such_ask
from controlplane.simulators.vastai.orders import Order, read_order
from controlplane.simulators.vastai.state import VastState
from controlplane.simulators.wire import Response, json_response

_STOCKOUT_FORMS = ("404", "410", "400")
_MOST_AT_ONCE = 64


class Renting:
    """The calls that create."""

    def __init__(self, state: VastState) -> None:
        self._state = state

    def routes(self) -> Sequence[Route]:
        """Its part of the API."""
        return (
            Route("PUT", r"/api/v0/asks/(?P<id>\d+)", "create", self._create),
            Route("POST", "/api/v0/asks/bulk", "create", self._create_several),
        )

    def _create(self, call: Call) -> Response:
        order = read_order(call.body(), self._state.templates)
        return self._rent(int(call.path["id"]), order, call)

    def _create_several(self, call: Call) -> Response:
        """One answer for each offer; how the real call words them is not documented."""
        body = call.body()
        ids = body.pop("ids", None)
        if not isinstance(ids, list) or not 0 < len(ids) <= _MOST_AT_ONCE or not all(isinstance(i, int) for i in ids):
            return error(400, "invalid_args", f"ids: 1 to {_MOST_AT_ONCE} offer ids")
        order = read_order(body, self._state.templates)
        results = [{"ask_id": ask_id, **self._attempt(ask_id, order, call)} for ask_id in ids]
        return json_response(200, {"success": all(one["success"] for one in results), "results": results})

    def _attempt(self, ask_id: int, order: Order, call: Call) -> Any:
        try:
            return self._rent(ask_id, order, call).json()
        except Refusal as refusal:
            return refusal.response.json()

    def _rent(self, ask_id: int, order: Order, call: Call) -> Response:
        state = self._state
        if "create" in state.failing:
            return error(400, "simulated", state.failing["create"])
        ask = state.asks.get(ask_id)
        if ask is not None and "rival" in call.faults:
            ask.away_until = call.now + state.faults.rival_s
            ask.stale_until = call.now + state.faults.stale_inventory_s
        if ask is None or not ask.is_free(call.now):
            return no_such_ask(ask_id, "410" if order.cancel_unavail else "404")
        if "stockout" in call.faults:
            form = state.faults.stockout_form
            return no_such_ask(ask_id, state.rng.choice(_STOCKOUT_FORMS) if form == "any" else form)
        if state.balance_nano(call.now) <= 0:
            return no_funds()
        contract = self._contract(ask, order, call)
        return self._created(contract, ask, order, call)

    def _created(self, contract: Contract, ask: Ask, order: Order, call: Call) -> Response:
        number = int(contract.id)
        if order.price_nano is not None and order.price_nano < ask.min_bid_nano:
            return self._refused_but_made(contract, "bid is below min_bid")
        if "created_with_error" in call.faults:
            return self._refused_but_made(contract, "instance could not be started")
        if order.running:
            self._plan(contract, call)
        else:
            contract.intended = "stopped"
        key = f"{self._state.rng.getrandbits(256):064x}"
        return json_response(200, {"success": True, "new_contract": number, "instance_api_key": key})

    def _refused_but_made(self, contract: Contract, why: str) -> Response:
        """It exists, stopped, and its storage costs."""
        contract.intended = "stopped"
        refusal = {"success": False, "error": "create_failed", "msg": why, "new_contract": int(contract.id)}
        return json_response(200, refusal)

    def _contract(self, ask: Ask, order: Order, call: Call) -> Contract:
        state, bid = self._state, order.price_nano
        start = str(order.facts.get("onstart") or "")
        contract = Contract(
            id=state.next_contract_id(),
            label=order.label,
            created_at=call.now,
            keys=list(dict.fromkeys([*state.account_keys.values(), *keys_in(start)])),
            ask=ask,
            gpu_nano=ask.price_nano() if bid is None else bid,
            disk_nano=ask.disk_nano(order.disk_gb),
            disk_gb=order.disk_gb,
            bid=bid is not None,
            order=order.facts,
            direct_blocked="direct_blocked" in call.faults,
        )
        contract.key_ids = {state.next_key_id(): key for key in contract.keys}
        ask.held += 1
        ask.stale_until = call.now + state.faults.stale_inventory_s
        state.machines[contract.id] = contract
        return contract

    def _plan(self, contract: Contract, call: Call) -> None:
        """The whole life ahead, as this call's luck has it."""
        faults, rng = self._state.faults, self._state.rng
        up_at = call.now + rng.uniform(*faults.boot_s)
        contract.plan_run(call.now, up_at - call.now)
        if "stuck" in call.faults:
            contract.stick(stuck_form(rng, faults))
        elif "preempt" in call.faults and contract.bid:
            contract.take_back(up_at + rng.uniform(*faults.preempt_after_s))
        elif "host_lost" in call.faults:
            contract.lose_host(*host_loss(up_at + rng.uniform(*faults.host_lost_after_s), rng, faults))
