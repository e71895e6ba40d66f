"""Instances that exist on the simulated Vast.ai: looking at them, changing them, ending them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controlplane.simulators.calls import Call, Refusal, Route
from controlplane.simulators.ledger import Span
from controlplane.simulators.vastai.contract import SCHEDULING, Contract
from controlplane.simulators.vastai.errors import error, no_such_instance
from controlplane.simulators.vastai.orders import price_nano
from controlplane.simulators.vastai.rows import has_ssh
from controlplane.simulators.vastai.state import VastState
from controlplane.simulators.wire import Response, json_response, text

_LONGEST_LABEL = 1024
_MOST_BID_PER_GPU = 32.0
_LOG_READY_S = 0.5


class Keeping:
    """The calls about single instances, and their bulk forms."""

    def __init__(self, state: VastState) -> None:
        self._state = state

    def routes(self) -> Sequence[Route]:
        """Its part of the API."""
        one = r"/api/v0/instances/(?P<id>\d+)"
        return (
            Route("GET", one, "get", self._show),
            Route("DELETE", one, "destroy", self._destroy),
            Route("PUT", one, "manage", self._manage),
            Route("DELETE", "/api/v0/instances", "destroy", self._destroy_several),
            Route("PUT", "/api/v0/instances", "manage", self._manage_several),
            Route("PUT", r"/api/v0/instances/(?P<how>reboot|recycle)/(?P<id>\d+)", "manage", self._reboot),
            Route("PUT", r"/api/v0/instances/bid_price/(?P<id>\d+)", "bid", self._change_bid),
            Route("PUT", r"/api/v0/instances/request_logs/(?P<id>\d+)", "logs", self._request_logs),
            Route("GET", r"/instance_logs/(?P<token>\w+)", "log_result", self._log, open=True),
        )

    def contract(self, call: Call) -> Contract:
        """The instance that the path names. Raises Refusal."""
        return self._rented(call.path["id"])

    def _rented(self, contract_id: str) -> Contract:
        contract = self._state.machines.get(contract_id)
        if contract is None or contract.ended_at is not None:
            raise Refusal(no_such_instance(contract_id))
        return contract

    def _show(self, call: Call) -> Response:
        """One that is gone is no error but null."""
        contract = self._state.machines.get(call.path["id"])
        late = contract is not None and call.now < contract.created_at + self._state.faults.get_delay_s
        if contract is None or contract.ended_at is not None or late:
            return json_response(200, {"instances": None})
        return json_response(200, {"instances": self._state.row(contract, call.now)})

    def _destroy(self, call: Call) -> Response:
        contract = self.contract(call)
        if "destroy" in self._state.failing:
            return error(400, "simulated", self._state.failing["destroy"])
        self._state.destroy(contract, call.now)
        return json_response(200, {"success": True, "msg": f"Instance {contract.id} destroyed."})

    def _destroy_several(self, call: Call) -> Response:
        for contract in self._several(call, "instance_ids"):
            self._state.destroy(contract, call.now)
        return json_response(200, {"success": True})

    def _manage(self, call: Call) -> Response:
        return self._change(self.contract(call), call.body(), call)

    def _manage_several(self, call: Call) -> Response:
        for contract in self._several(call, "ids"):
            self._change(contract, call.body(), call)
        return json_response(200, {"success": True})

    def _several(self, call: Call, name: str) -> list[Contract]:
        ids = call.body().get(name)
        if not isinstance(ids, list):
            raise Refusal(error(400, "invalid_args", f"{name}: must be a list of instance ids"))
        return [self._rented(str(one)) for one in ids]

    def _change(self, contract: Contract, body: dict[str, Any], call: Call) -> Response:
        wanted = body.get("state")
        if wanted not in (None, "running", "stopped") or (wanted is None and "label" not in body):
            raise Refusal(error(400, "invalid_args", "state must be running or stopped, or a label be given"))
        if "label" in body:
            label = body["label"] or ""
            if not isinstance(label, str) or len(label) > _LONGEST_LABEL:
                raise Refusal(error(400, "invalid_args", f"label: at most {_LONGEST_LABEL} characters"))
            contract.label = label
        if wanted == "stopped":
            contract.intended = "stopped"
            contract.halt(call.now + self._state.faults.stop_s)
        elif wanted == "running":
            self._start(contract, call)
        return json_response(200, {"success": True})

    def _start(self, contract: Contract, call: Call) -> None:
        """Come up again, unless the GPU was rented away meanwhile or a bid is too low."""
        if contract.intended_at(call.now) == "running":
            return
        if self._state.balance_nano(call.now) <= 0:
            raise Refusal(error(400, "missing_billing", "Add credit before starting an instance."))
        ask = contract.ask
        outbid = contract.bid and ask is not None and contract.gpu_nano < ask.min_bid_nano
        contract.preempted_at = float("inf")
        contract.plan_run(call.now, self._state.rng.uniform(*self._state.faults.boot_s))
        if "start_refused" in call.faults or outbid:
            contract.stick(SCHEDULING)
        if self._state.faults.address_changes:
            contract.version += 1

    def _reboot(self, call: Call) -> Response:
        contract = self.contract(call)
        if contract.up_since(call.now) is None:
            return error(400, "invalid_state", "Instance is not running.")
        boot_s = self._state.rng.uniform(*self._state.faults.boot_s)
        contract.rebooting = Span(call.now, call.now + boot_s)
        return json_response(200, {"success": True})

    def _change_bid(self, call: Call) -> Response:
        contract = self.contract(call)
        ask = contract.ask
        if not contract.bid or ask is None:
            return error(400, "invalid_args", "Instance is not interruptible.")
        nano = price_nano(call.body().get("price"), _MOST_BID_PER_GPU * ask.num_gpus)
        contract.change_price(call.now, nano)
        if nano < ask.min_bid_nano:
            contract.take_back(call.now)
        elif contract.intended_at(call.now) == "stopped":
            self._start(contract, call)
        return json_response(200, {"success": True})

    def _request_logs(self, call: Call) -> Response:
        """The log is fetched from another address, without a key, once it has arrived there."""
        contract, body = self.contract(call), call.body()
        lines = self._lines(contract, call.now, daemon=body.get("daemon_logs") == "true")
        wanted = str(body.get("filter") or "")
        tail = str(body.get("tail") or "1000")
        if not tail.isdecimal():
            return error(400, "invalid_args", "tail must be a number of lines")
        chosen = [line for line in lines if wanted in line][-int(tail) :] if int(tail) else []
        token = f"{self._state.rng.getrandbits(128):032x}"
        self._state.log_results[token] = (call.now + _LOG_READY_S, "".join(f"{line}\n" for line in chosen))
        host = call.request.headers.get("host", "localhost")
        return json_response(200, {"success": True, "result_url": f"http://{host}/instance_logs/{token}", "msg": ""})

    def _log(self, call: Call) -> Response:
        ready_at, lines = self._state.log_results.get(call.path["token"], (float("inf"), ""))
        return text(200, lines) if call.now >= ready_at else text(404, "Not Found")

    def _lines(self, contract: Contract, now: float, *, daemon: bool) -> list[str]:
        image = contract.order.get("image", "")
        if daemon:
            return [f"Pulling image {image}", f"Status: Downloaded newer image for {image}", "Starting container"]
        if contract.running_s(now) == 0:
            return []
        own = self._state.premises.log(contract.id).splitlines()
        begun = ["+ service ssh start"] if has_ssh(contract) else []
        return [*begun, f"simulated instance {contract.id} running {image}", *own]
