"""The control surface of every simulator, below /_sim: look at it and steer it while it runs.

No marketplace has such paths, so that a client cannot take it for the API. Bad input is 400 with field, rule, value.
"""

from __future__ import annotations

from typing import Any

from controlplane.simulators.faults import Misuse
from controlplane.simulators.ledger import Bill
from controlplane.simulators.marketplace import Marketplace
from controlplane.simulators.model import RentedMachine
from controlplane.simulators.wire import Request, Response, json_response

PREFIX = "/_sim/"


def control(market: Marketplace[Any], request: Request) -> Response:
    """Serve one control call."""
    action = request.path.removeprefix(PREFIX).strip("/")
    try:
        answer = _read(market, action, request) if request.method == "GET" else _write(market, action, request)
    except Misuse as misuse:
        error = {"error": str(misuse), "field": misuse.field, "rule": misuse.rule, "value": misuse.value}
        return json_response(400, error)
    return json_response(200, answer) if answer is not None else json_response(404, {"error": "no such control"})


def ledger(market: Marketplace[Any]) -> dict[str, Any]:
    """Every machine's account, ended ones included, by the simulator's clock."""
    now = market.clock.now()
    accounts = [_account(machine, market.bill(machine, now)) for machine in market.alive()]
    accounts += [_account(machine, bill) for machine, bill in market.settled.values()]
    return {"now": now, "machines": sorted(accounts, key=lambda account: (account["created_at"], account["id"]))}


def _account(machine: RentedMachine, bill: Bill) -> dict[str, Any]:
    return {
        "id": machine.id,
        "label": machine.label,
        "created_at": machine.created_at,
        "ended_at": machine.ended_at,
        "running_s": bill.running_s,
        "billed_nano": bill.billed_nano,
    }


def _read(market: Marketplace[Any], action: str, request: Request) -> dict[str, Any] | None:
    match action:
        case "journal":
            return {"now": market.clock.now(), "calls": market.journal.as_json(request.first("endpoint"))}
        case "ledger":
            return ledger(market)
        case "config":
            return {**market.faults.as_json(), "queue": market.queue.as_json()}
        case "offers":
            return {"offers": market.offers_json()}
    return None


def _write(market: Marketplace[Any], action: str, request: Request) -> dict[str, Any] | None:
    values = _values(request)
    match action if request.method == "POST" else "":
        case "config":
            market.configure(values)
            return {**market.faults.as_json(), "queue": market.queue.as_json()}
        case "reset":
            market.reset()
            return {}
        case "offers":
            return _change_offers(market, values)
        case "preempt":
            market.preempt(_machine(market, values))
            return {}
        case "host_lost":
            market.lose_host(_machine(market, values))
            return {}
        case "balance":
            market.set_balance(price(values, "usd"))
            return {}
        case "orphan":
            return {"id": market.add_orphan(_text(values, "label"))}
    return None


def _change_offers(market: Marketplace[Any], values: dict[str, Any]) -> dict[str, Any]:
    """{"add": {...}}, {"withdraw": id} or {"reprice": id, "usd_per_hour": price}."""
    if isinstance(values.get("add"), dict):
        return {"id": market.add_offer(values["add"])}
    if "withdraw" in values:
        market.withdraw_offer(_text(values, "withdraw"))
        return {}
    if "reprice" in values:
        market.reprice_offer(_text(values, "reprice"), price(values, "usd_per_hour"))
        return {}
    raise Misuse("offers", "must hold add (an object), withdraw (an id) or reprice (an id)", sorted(values))


def price(values: Any, name: str) -> float:
    """A price in US dollars an hour among control values. Raises Misuse."""
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10_000:
        raise Misuse(name, "must be a price in US dollars, more than 0", value)
    return float(value)


def _machine(market: Marketplace[Any], values: dict[str, Any]) -> RentedMachine:
    machine_id = _text(values, "id")
    machine: RentedMachine | None = market.machines.get(machine_id)
    if machine is None or machine.ended_at is not None:
        raise Misuse("id", "must be the id of a machine rented now", machine_id)
    return machine


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value or len(value) > 1024:
        raise Misuse(name, "must be text of 1 to 1024 characters", value)
    return value


def _values(request: Request) -> dict[str, Any]:
    try:
        values = request.json()
    except ValueError:
        raise Misuse("body", "must be JSON", request.body[:100].decode("utf-8", "replace")) from None
    if not isinstance(values, dict):
        raise Misuse("body", "must be a JSON object", values)
    return values
