"""Paths of the mock provider that tests of the GPU shopper know: below the root, no key, integer ids in its listing.

A second, plainer face of the same market: neither faults nor limits touch it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from controlplane.simulators.faults import Misuse
from controlplane.simulators.vastai.contract import Contract
from controlplane.simulators.vastai.state import VastState
from controlplane.simulators.wire import Request, Response, json_response

_ONE = re.compile(r"/instances/(\d+)")
_COLUMNS = (
    "id",
    "machine_id",
    "actual_status",
    "ssh_host",
    "ssh_port",
    "label",
    "gpu_name",
    "num_gpus",
    "dph_total",
    "start_date",
    "status_msg",
    "cur_state",
)
_DELAYS = {"create_delay_ms": "boot_s", "destroy_delay_ms": "ended_listed_s"}
_FAILURES = {"fail_create": "create", "fail_destroy": "destroy"}


class Shopper:
    """Serves those paths."""

    def __init__(self, state: VastState) -> None:
        self._state = state

    def answer(self, request: Request) -> Response | None:
        """The answer, or None when the path is not one of these."""
        path = request.path.rstrip("/")
        try:
            match request.method, path:
                case "GET", "/health":
                    return json_response(200, {"status": "ok", "type": "mock-vastai-provider"})
                case "GET", "/instances":
                    return self._list()
                case "POST", "/_test/reset":
                    self._state.reset()
                    return json_response(200, {"status": "reset"})
                case "POST", "/_test/config":
                    return self._configure(_object(request))
                case "POST", "/_test/orphan":
                    return self._orphan(_object(request))
        except Misuse as misuse:
            return json_response(400, {"error": str(misuse)})
        one = _ONE.fullmatch(path)
        return self._destroy(one.group(1)) if one and request.method == "DELETE" else None

    def _list(self) -> Response:
        now = self._state.clock.now()
        rows = [self._state.row(contract, now) for contract in self._state.listed(now)]
        return json_response(200, {"instances": [{name: row[name] for name in _COLUMNS} for row in rows]})

    def _destroy(self, contract_id: str) -> Response:
        contract: Contract | None = self._state.machines.get(contract_id)
        if contract is None or contract.ended_at is not None:
            return json_response(400, {"success": False, "error": f"instance not found: {contract_id}"})
        if "destroy" in self._state.failing:
            return json_response(400, {"success": False, "error": self._state.failing["destroy"]})
        self._state.destroy(contract, self._state.clock.now())
        return json_response(200, {"success": True})

    def _orphan(self, values: Mapping[str, Any]) -> Response:
        label = values.get("label", "")
        if not isinstance(label, str):
            raise Misuse("label", "must be text", label)
        return json_response(200, {"instance_id": self._state.add_orphan(label), "label": label})

    def _configure(self, values: Mapping[str, Any]) -> Response:
        """Delays of 0 leave things as they are; a failure that is not asked for is off."""
        delays = {}
        for name, switch in _DELAYS.items():
            delay_ms = values.get(name, 0)
            if not isinstance(delay_ms, int) or isinstance(delay_ms, bool) or delay_ms < 0:
                raise Misuse(name, "must be milliseconds, 0 or more", delay_ms)
            if delay_ms:
                delays[switch] = delay_ms / 1000
        failing = {}
        for name, action in _FAILURES.items():
            if values.get(name, False) not in (True, False):
                raise Misuse(name, "must be true or false", values[name])
            if values.get(name, False):
                failing[action] = str(values.get(f"{name}_msg") or f"simulated {action} failure")
        self._state.configure(delays)
        self._state.failing = failing
        return json_response(200, {"status": "configured"})


def _object(request: Request) -> dict[str, Any]:
    try:
        value = request.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Misuse("body", "must be a JSON object", request.body[:100].decode("utf-8", "replace"))
    return value
