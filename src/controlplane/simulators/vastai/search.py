"""Offer search of the simulated Vast.ai."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from controlplane.simulators.calls import Call, Refusal, Route
from controlplane.simulators.vastai import asks
from controlplane.simulators.vastai.errors import error, quota_exceeded
from controlplane.simulators.vastai.filters import BadFilter, matches
from controlplane.simulators.vastai.state import VastState
from controlplane.simulators.wire import Response, json_response

_DEFAULT_LIMIT = 64  # without one "only a small page" comes; how small is not documented
_DEFAULT_STORAGE_GB = 5.0
_DEFAULTS = {"verified": {"eq": True}, "rentable": {"eq": True}, "rented": {"eq": False}}
_DAY_S = 86_400
_MOST = 1e9  # of anything asked for
_TYPES = {"on-demand": False, "ondemand": False, "reserved": False, "bid": True, "interruptible": True}


class Search:
    """The calls that look for offers; none needs a key."""

    def __init__(self, state: VastState) -> None:
        self._state = state

    def routes(self) -> Sequence[Route]:
        """Its part of the API."""
        return (
            Route("POST", "/api/v0/bundles", "search", self._by_body, open=True),
            Route("GET", "/api/v0/bundles", "search", self._by_query, open=True),
            Route("PUT", "/api/v0/search/asks", "search", self._by_columns, open=True),
            Route("GET", "/api/v0/gpu_names/unique", "gpu_names", self._gpu_names, open=True),
        )

    def found(self, query: Mapping[str, Any], now: float) -> list[dict[str, Any]]:
        """The offers that a query asks for. Raises BadFilter."""
        bid = self._is_bid(query)
        storage_gb = _number(query, "allocated_storage", _DEFAULT_STORAGE_GB)
        filters = {**_DEFAULTS, **{name: value for name, value in query.items() if isinstance(value, Mapping)}}
        skew_s = self._state.faults.clock_skew_s
        found = []
        for ask in self._state.asks.values():
            if not ask.is_listed(now):
                continue
            row = asks.row(ask, now, bid=bid, storage_gb=storage_gb, skew_s=skew_s)
            if matches({**row, "verified": ask.verification == "verified"}, filters):
                found.append(row)
        _sort(found, query.get("order"))
        return found[: max(0, int(_number(query, "limit", _DEFAULT_LIMIT)))]

    def _by_body(self, call: Call) -> Response:
        return self._answer(call, call.body())

    def _by_query(self, call: Call) -> Response:
        return self._answer(call, _json_parameter(call, "q"))

    def _by_columns(self, call: Call) -> Response:
        """The newer search, which is known to tell some offers twice."""
        query = call.body().get("q", {})
        response = self._answer(call, query if isinstance(query, dict) else {})
        rows = response.json().get("offers", [])
        return (
            json_response(200, {"success": True, "offers": [*rows, *rows[:1]]}) if response.status == 200 else response
        )

    def _answer(self, call: Call, query: Mapping[str, Any]) -> Response:
        self._count_search(call.now)
        try:
            rows = self.found(query, call.now)
        except BadFilter as bad:
            return error(400, "invalid_args", str(bad))
        self._move_prices(rows)
        return json_response(200, {"offers": self._state.shuffled_rows(rows, call)})

    def _count_search(self, now: float) -> None:
        quota, day = self._state.faults.search_quota, int(now // _DAY_S)
        self._state.searches = {day: self._state.searches.get(day, 0) + 1}
        if quota and self._state.searches[day] > quota:
            raise Refusal(quota_exceeded((day + 1) * _DAY_S))

    def _move_prices(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Between a search and a purchase prices may rise; the next search tells the new ones."""
        faults, rng = self._state.faults, self._state.rng
        for row in rows if faults.price_rise else ():
            rises = rng.random() < faults.price_rise
            self._state.asks[row["id"]].risen_percent = faults.price_rise_percent if rises else 0.0

    def _is_bid(self, query: Mapping[str, Any]) -> bool:
        kind = query.get("type", "on-demand")
        if not isinstance(kind, str) or kind not in _TYPES:
            raise BadFilter(f"unknown type: {str(kind)[:50]}")
        return _TYPES[kind]

    def _gpu_names(self, call: Call) -> Response:
        return json_response(200, {"gpu_names": sorted({ask.gpu.name for ask in self._state.asks.values()})})


def _json_parameter(call: Call, name: str) -> dict[str, Any]:
    try:
        value = json.loads(call.request.first(name, "{}"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refusal(error(400, "invalid_args", f"{name} must be a JSON object"))
    return value


def _number(query: Mapping[str, Any], name: str, default: float) -> float:
    try:
        number = float(query.get(name) or default)
    except (TypeError, ValueError):
        number = math.nan
    if not abs(number) <= _MOST:
        raise BadFilter(f"{name} must be a number")
    return number


def _sort(rows: list[dict[str, Any]], order: Any) -> None:
    """By the wanted columns, the last one first, as a stable sort wants it; unknown columns are passed over."""
    wanted = order if isinstance(order, list) else [["score", "desc"]]
    for item in reversed(wanted):
        column, direction = (*item, "asc")[:2] if isinstance(item, list) else (item, "asc")
        if rows and isinstance(column, str) and column in rows[0]:
            rows.sort(key=partial(_sort_key, column), reverse=direction == "desc")


def _sort_key(column: str, row: Mapping[str, Any]) -> tuple[bool, Any]:
    return row[column] is None, row[column] or 0
