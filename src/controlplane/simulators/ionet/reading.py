"""The calls of io.net that look at deployments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar

from controlplane.simulators.calls import Call, Refusal, Route
from controlplane.simulators.ionet import answers, rows
from controlplane.simulators.ionet.inventory import Product
from controlplane.simulators.ionet.orders import Paging
from controlplane.simulators.ionet.state import IonetState
from controlplane.simulators.wire import Response, json_response

_STATUSES = (
    "deployment requested", "running", "completed", "failed", "termination requested", "destroyed",
)  # fmt: skip

_T = TypeVar("_T")


class Reading:
    """Handlers of both products."""

    def __init__(self, market: IonetState, prefix: str) -> None:
        self._market = market
        self._prefix = prefix

    def routes(self) -> Sequence[Route]:
        """Its calls."""
        found = []
        for product in Product:
            one = f"{self._prefix}/{product}/deployment/(?P<id>[^/]+)"
            found.append(Route("GET", f"{self._prefix}/{product}/deployments", "list", partial(self._list, product)))
            found.append(Route("GET", one, "show", partial(self._show, product)))
        vm = f"{self._prefix}/{Product.VM}/deployment/(?P<id>[^/]+)"
        container = f"{self._prefix}/{Product.CONTAINER}/deployment/(?P<id>[^/]+)"
        return [
            *found,
            Route("GET", f"{vm}/vms", "workers", self._vms),
            Route("GET", f"{container}/containers", "workers", self._containers),
            Route("GET", f"{container}/containers-jobs/(?P<worker>[^/]+)", "jobs", self._jobs),
            Route("GET", f"{container}/log/(?P<worker>[^/]+)", "logs", self._log),
        ]

    def _list(self, product: Product, call: Call) -> Response:
        paging = answers.asked(Paging, call)
        found = self._market.shown(product, call.now)
        if paging.status is not None:
            found = [deployment for deployment in found if deployment.status(call.now) == paging.status]
        page = [rows.summary(deployment, call.now) for deployment in _page(found, paging)]
        page = self._market.shuffled_rows(page, call)
        return json_response(200, {"data": {"deployments": page, "total": len(found), "statuses": list(_STATUSES)}})

    def _show(self, product: Product, call: Call) -> Response:
        return json_response(200, {"data": self._market.row(self._market.found(call, product), call.now)})

    def _vms(self, call: Call) -> Response:
        market, paging = self._market, answers.asked(Paging, call)
        deployment = market.found(call, Product.VM)
        address = market.address(deployment, call.now)
        return _workers(rows.vms(deployment, call.now, market.faults.clock_skew_s, address), paging)

    def _containers(self, call: Call) -> Response:
        paging = answers.asked(Paging, call)
        return _workers(self._container_rows(call), paging)

    def _jobs(self, call: Call) -> Response:
        paging = answers.asked(Paging, call)
        return _workers([self._container(call)], paging)

    def _log(self, call: Call) -> Response:
        container = self._container(call)
        lines = [f"{event['time']} {event['message']}" for event in container["container_events"] or []]
        if call.request.first("stream", "stdout") != "stdout":
            lines = []
        lines += self._market.premises.log(call.path["id"]).splitlines()
        return Response(200, rows.log_stream(lines), {"content-type": "text/event-stream; charset=utf-8"})

    def _container_rows(self, call: Call) -> list[dict[str, Any]]:
        market = self._market
        deployment = market.found(call, Product.CONTAINER)
        reachable = deployment.ready(call.now, market.faults.ports_after_s) and not deployment.away(call.now)
        return rows.containers(deployment, call.now, market.faults.clock_skew_s, reachable=reachable)

    def _container(self, call: Call) -> dict[str, Any]:
        for row in self._container_rows(call):
            if row["container_id"] == call.path["worker"]:
                return row
        raise Refusal(answers.failed(404, "Container not found"))


def _workers(found: list[dict[str, Any]], paging: Paging) -> Response:
    return json_response(200, {"data": {"workers": _page(found, paging), "total": len(found)}})


def _page(found: list[_T], paging: Paging) -> list[_T]:
    start = (paging.page - 1) * paging.page_size
    return found[start : start + paging.page_size]
