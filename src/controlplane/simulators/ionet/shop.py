"""The calls of io.net that look at hardware, stock and prices."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from controlplane.simulators.calls import Call, Refusal, Route
from controlplane.simulators.ionet import answers, rows
from controlplane.simulators.ionet.catalogue import Hardware
from controlplane.simulators.ionet.inventory import Product
from controlplane.simulators.ionet.orders import AvailabilityQuestion, ContainerQuestion, VmQuestion
from controlplane.simulators.ionet.state import IonetState
from controlplane.simulators.wire import Response, json_response


class Shop:
    """Handlers of one product's listings. Hardware and prices need no key."""

    def __init__(self, market: IonetState, prefix: str) -> None:
        self._market = market
        self._prefix = prefix

    def routes(self) -> Sequence[Route]:
        """Its calls."""
        vm, container = f"{self._prefix}/{Product.VM}", f"{self._prefix}/{Product.CONTAINER}"
        return (
            Route("GET", f"{vm}/hardware", "hardware", partial(self._hardware, Product.VM), open=True),
            Route("GET", f"{container}/hardware", "hardware", partial(self._hardware, Product.CONTAINER), open=True),
            Route("GET", f"{vm}/price", "price", self._vm_price, open=True),
            Route("GET", f"{container}/price", "price", self._container_price, open=True),
            Route("GET", f"{vm}/available-vms", "availability", self._availability),
            Route("GET", f"{container}/node-pools", "node_pools", self._node_pools),
        )

    def _hardware(self, product: Product, call: Call) -> Response:
        items = list(self._market.inventory.rows(product))
        if product == Product.VM:
            found = [rows.vm_hardware(item, place) for item, place in items]
        else:
            found = [rows.container_hardware(item, place, call.now) for item, place in items]
        if "price_rise" in call.faults:
            self._market.inventory.raise_prices(product, self._market.faults)
        return json_response(200, {"data": found})

    def _availability(self, call: Call) -> Response:
        question = answers.asked(AvailabilityQuestion, call)
        item = self._known(Product.VM, question.hardware_id)
        return json_response(200, {"data": {"locations": rows.availability(item, call.now)}})

    def _vm_price(self, call: Call) -> Response:
        question = answers.asked(VmQuestion, call)
        return self._quote(question, Product.VM, "gpus_per_vm", call.now)

    def _container_price(self, call: Call) -> Response:
        question = answers.asked(ContainerQuestion, call)
        return self._quote(question, Product.CONTAINER, "gpus_per_container", call.now)

    def _quote(self, question: VmQuestion | ContainerQuestion, product: Product, gpus_key: str, now: float) -> Response:
        item = self._known(product, question.hardware_id)
        asked = {str(location_id) for location_id in question.location_ids or [place.id for place in item.replicas]}
        free = sum(stock.listed(now) for place, stock in item.replicas.items() if str(place.id) in asked)
        cost_nano = item.gpu_nano * question.gpus * question.replica_count * question.duration_hours
        quote = rows.quote(cost_nano, question.replica_count, gpus_key, question.gpus, free)
        return json_response(200, {"data": quote})

    def _node_pools(self, call: Call) -> Response:
        return json_response(200, {"data": []})

    def _known(self, product: Product, number: int | str) -> Hardware:
        item = self._market.inventory.find(product, number)
        if item is None:
            raise Refusal(answers.no_hardware())
        return item
