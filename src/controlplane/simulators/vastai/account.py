"""The account on the simulated Vast.ai: SSH keys, templates, balance and charges."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from controlplane.simulators.calls import Call, Refusal, Route
from controlplane.simulators.ledger import Bill
from controlplane.simulators.machines import public_key
from controlplane.simulators.vastai.contract import Contract
from controlplane.simulators.vastai.errors import error, no_such_instance
from controlplane.simulators.vastai.filters import BadFilter, matches
from controlplane.simulators.vastai.state import VastState
from controlplane.simulators.wire import Response, json_response

_MOST_CHARGES = 500


class Account:
    """The calls about the account, and about the keys of an instance."""

    def __init__(self, state: VastState) -> None:
        self._state = state

    def routes(self) -> Sequence[Route]:
        """Its part of the API."""
        on_instance = r"/api/v0/instances/(?P<id>\d+)/ssh"
        return (
            Route("GET", "/api/v0/ssh", "keys", self._keys),
            Route("POST", "/api/v0/ssh", "keys", self._add_key),
            Route("PUT", r"/api/v0/ssh/(?P<key>\d+)", "keys", self._change_key),
            Route("DELETE", r"/api/v0/ssh/(?P<key>\d+)", "keys", self._remove_key),
            Route("GET", on_instance, "instance_keys", self._keys_on),
            Route("POST", on_instance, "attach_key", self._attach),
            Route("DELETE", on_instance + r"/(?P<key>\d+)", "detach_key", self._detach),
            Route("GET", "/api/v0/users/current", "user", self._user),
            Route("GET", "/api/v0/template", "templates", self._templates),
            Route("GET", "/api/v0/charges", "charges", self._charges),
        )

    def _keys(self, call: Call) -> Response:
        return json_response(200, [_key_row(*item) for item in self._state.account_keys.items()])

    def _add_key(self, call: Call) -> Response:
        """Account keys reach instances created from now on."""
        key, number = _key(call), self._state.next_key_id()
        self._state.account_keys[number] = key
        return json_response(200, {"success": True, "key": _key_row(number, key)})

    def _change_key(self, call: Call) -> Response:
        number = self._account_key(call)
        self._state.account_keys[number] = _key(call)
        return json_response(200, {"success": True})

    def _remove_key(self, call: Call) -> Response:
        del self._state.account_keys[self._account_key(call)]
        return json_response(200, {"success": True})

    def _account_key(self, call: Call) -> int:
        number = int(call.path["key"])
        if number not in self._state.account_keys:
            raise Refusal(error(404, "not_found", "No such SSH key."))
        return number

    def _contract(self, call: Call) -> Contract:
        contract = self._state.machines.get(call.path["id"])
        if contract is None or contract.ended_at is not None:
            raise Refusal(no_such_instance(call.path["id"]))
        return contract

    def _keys_on(self, call: Call) -> Response:
        """The keys are a JSON text within the JSON."""
        rows = [_key_row(*item) for item in self._contract(call).key_ids.items()]
        return json_response(200, {"success": True, "ssh_keys": json.dumps(rows)})

    def _attach(self, call: Call) -> Response:
        """An instance gets a key, which works some seconds later (`Faults.keys_after_s`)."""
        contract, key = self._contract(call), _key(call)
        if key not in contract.keys:
            contract.keys.append(key)
            contract.key_times[key] = call.now
            contract.key_ids[self._state.next_key_id()] = key
        return json_response(200, {"success": True, "msg": "SSH key added to instance."})

    def _detach(self, call: Call) -> Response:
        contract = self._contract(call)
        key = contract.key_ids.pop(int(call.path["key"]), None)
        if key is None:
            return error(404, "not_found", "No such SSH key.")
        contract.keys.remove(key)
        return json_response(200, {"success": True})

    def _user(self, call: Call) -> Response:
        return json_response(
            200,
            {
                "id": 41_207,
                "username": "rehearsal",
                "email": "rehearsal@example.com",
                "credit": self._state.balance_nano(call.now) / 1e9,
                "balance": 0.0,
                "balance_threshold": 1.0,
                "host_agreement_accepted": False,
                "ssh_key": next(iter(self._state.account_keys.values()), None),
            },
        )

    def _templates(self, call: Call) -> Response:
        filters = _filters(call)
        try:
            rows = [row for row in self._state.templates if matches(row, filters)]
        except BadFilter as bad:
            return error(400, "invalid_args", str(bad))
        return json_response(200, {"success": True, "templates_found": len(rows), "templates": rows})

    def _charges(self, call: Call) -> Response:
        try:
            day = _filters(call).get("day", {})
            begin, end = float(day.get("gte", 0)), float(day.get("lte", call.now))
            limit = min(_MOST_CHARGES, int(call.request.first("limit") or _MOST_CHARGES))
        except (AttributeError, TypeError, ValueError):
            return error(400, "invalid_args", "day must hold times, limit must be a number")
        bills = [(one, self._state.bill(one, call.now)) for one in self._state.alive()]
        bills += self._state.settled.values()
        rows = [_charge(one, bill, call.now) for one, bill in bills if begin <= one.created_at <= end]
        text = call.request.first("after_token", "0")
        start = int(text) if text.isdecimal() else 0
        more = str(start + limit) if start + limit < len(rows) else None
        return json_response(200, {"success": True, "results": rows[start : start + limit], "next_token": more})


def _charge(contract: Contract, bill: Bill, now: float) -> dict[str, Any]:
    end = contract.ended_at if contract.ended_at is not None else now
    hours = max(0.0, end - contract.created_at) / 3600
    disk = contract.disk_nano * hours / 1e9
    span = {"start": contract.created_at, "end": end}
    items = [
        {"type": "gpu", "amount": bill.billed_nano / 1e9 - disk, **span},
        {"type": "disk", "amount": disk, **span},
        {"type": "bwd", "amount": 0.0, **span},
        {"type": "bwu", "amount": 0.0, **span},
    ]
    about = {"source": f"instance-{contract.id}", "description": contract.label, "metadata": {"label": contract.label}}
    return {"type": "instance", **about, "amount": bill.billed_nano / 1e9, **span, "items": items}


def _filters(call: Call) -> dict[str, Any]:
    try:
        value = json.loads(call.request.first("select_filters") or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refusal(error(400, "invalid_args", "select_filters must be a JSON object"))
    return value


def _key(call: Call) -> str:
    key = public_key(str(call.body().get("ssh_key") or ""))
    if not key:
        raise Refusal(error(400, "invalid_args", "ssh_key must be one OpenSSH public key"))
    return key


def _key_row(number: int, key: str) -> dict[str, Any]:
    return {"id": number, "user_id": 41_207, "public_key": key, "key": key, "created_at": None, "deleted_at": None}
