"""The instance lists of the simulated Vast.ai."""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from controlplane.simulators.calls import Call, Refusal, Route
from controlplane.simulators.vastai.contract import Contract
from controlplane.simulators.vastai.errors import error
from controlplane.simulators.vastai.filters import BadFilter, matches
from controlplane.simulators.vastai.state import VastState
from controlplane.simulators.wire import Response, json_response

_PAGE = 25
_STORED = frozenset({"id", "label", "actual_status", "gpu_name", "verification", "start_date"})
_FILTER_COLUMNS = ("actual_status", "gpu_name", "verification", "label")


class Listing:
    """The calls that list instances."""

    def __init__(self, state: VastState) -> None:
        self._state = state

    def routes(self) -> Sequence[Route]:
        """Its part of the API."""
        return (
            Route("GET", "/api/v1/instances", "list", self._list),
            Route("GET", "/api/v0/instances", "list_v0", self._gone),
            Route("GET", "/api/v0/instances/filters", "instance_filters", self._filters),
        )

    def _gone(self, call: Call) -> Response:
        return error(410, "deprecated_endpoint", "This endpoint is deprecated. Use /api/v1/instances/ instead.")

    def _filters(self, call: Call) -> Response:
        rows = [self._state.row(contract, call.now) for contract in self._state.listed(call.now)]
        return json_response(200, {"success": True, "filters": [{c: row[c] for c in _FILTER_COLUMNS} for row in rows]})

    def _list(self, call: Call) -> Response:
        filters, order = _parameter(call, "select_filters", {}), _parameter(call, "order_by", [])
        after = _after(call.request.first("after_token"))
        found = self._found(call.now, filters)
        column, descending = _order(order)
        found.sort(key=lambda row: (_sortable(row[column]), row["id"]), reverse=descending)
        ids = [row["id"] for row in found]
        start = _place(ids, after, descending) if after is not None else 0
        limit = _limit(call.request.first("limit"))
        page = found[start : start + limit]
        more = start + limit < len(found)
        rows = self._state.shuffled_rows(page, call)
        answer = {
            "success": True,
            "instances_found": len(rows),
            "total_instances": len(found),
            "label_counts": Counter(row["label"] or "" for row in found),
            "next_token": _token(page[-1]["id"]) if more else None,
            "instances": [_columns(row, call) for row in rows],
        }
        return json_response(200, answer)

    def _found(self, now: float, filters: Any) -> list[dict[str, Any]]:
        if not isinstance(filters, dict) or not set(filters) <= _STORED:
            raise Refusal(error(400, "invalid_request", f"select_filters: only {', '.join(sorted(_STORED))}"))
        # Whole rows are costly and most lists ask for a few labels or ids: those are looked at first.
        early = {name: filters[name] for name in ("id", "label") if name in filters}
        late = {name: value for name, value in filters.items() if name not in early}
        try:
            held = [one for one in self._state.listed(now) if matches(_stored(one), early)]
            rows = [self._state.row(contract, now) for contract in held]
            return [row for row in rows if matches(row, late)]
        except BadFilter as bad:
            raise Refusal(error(400, "invalid_request", str(bad))) from None


def _stored(contract: Contract) -> dict[str, Any]:
    return {"id": int(contract.id), "label": contract.label}


def _parameter(call: Call, name: str, default: Any) -> Any:
    try:
        return json.loads(call.request.first(name) or json.dumps(default))
    except ValueError:
        raise Refusal(error(400, "invalid_request", f"{name}: must be JSON")) from None


def _order(order: Any) -> tuple[str, bool]:
    first = order[0] if isinstance(order, list) and order else {"col": "id", "dir": "asc"}
    if not isinstance(first, dict) or str(first.get("col")) not in _STORED:
        raise Refusal(error(400, "invalid_request", f"order_by: only {', '.join(sorted(_STORED))}"))
    return str(first["col"]), first.get("dir") == "desc"


def _sortable(value: Any) -> tuple[bool, Any]:
    return (value is not None, value if value is not None else 0)


def _place(ids: list[int], after: int, descending: bool) -> int:
    """Where a page begins; the row that the last one ended with may be gone by now."""
    if after in ids:
        return ids.index(after) + 1
    passed = [n for n, one in enumerate(ids) if (one > after if descending else one < after)]
    return passed[-1] + 1 if passed else 0


def _limit(text: str) -> int:
    if text and not text.isdecimal():
        raise Refusal(error(400, "invalid_request", "limit: must be a number"))
    return min(_PAGE, max(1, int(text or _PAGE)))


def _token(last_id: int) -> str:
    return base64.b64encode(json.dumps({"values": {"id": last_id}}).encode()).decode()


def _after(token: str) -> int | None:
    if not token:
        return None
    try:
        return int(json.loads(base64.b64decode(token, validate=True))["values"]["id"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise Refusal(error(400, "invalid_token", "after_token is not valid")) from None


def _columns(row: dict[str, Any], call: Call) -> dict[str, Any]:
    wanted = _parameter(call, "select_cols", ["*"])
    if not isinstance(wanted, list) or "*" in wanted:
        return row
    return {name: row[name] for name in wanted if isinstance(name, str) and name in row}
