"""The calls of io.net that buy, change and end deployments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from controlplane.simulators.calls import Call, Refusal, Route
from controlplane.simulators.ionet import answers
from controlplane.simulators.ionet.inventory import Product
from controlplane.simulators.ionet.orders import ContainerOrder, ContainerPatch, Extension, VmOrder
from controlplane.simulators.ionet.state import IonetState
from controlplane.simulators.wire import Response, json_response


class Renting:
    """Handlers of both products."""

    def __init__(self, market: IonetState, prefix: str) -> None:
        self._market = market
        self._prefix = prefix

    def routes(self) -> Sequence[Route]:
        """Its calls."""
        found = [
            Route("POST", f"{self._prefix}/{Product.VM}/deploy", "create", self._deploy_vm),
            Route("POST", f"{self._prefix}/{Product.CONTAINER}/deploy", "create", self._deploy_containers),
        ]
        for product in Product:
            one = f"{self._prefix}/{product}/deployment/(?P<id>[^/]+)"
            found.append(Route("POST", f"{one}/extend", "extend", partial(self._extend, product)))
            found.append(Route("DELETE", one, "destroy", partial(self._destroy, product)))
        one = f"{self._prefix}/{Product.CONTAINER}/deployment/(?P<id>[^/]+)"
        return [*found, Route("PATCH", one, "update", self._update)]

    def _deploy_vm(self, call: Call) -> Response:
        return self._deploy(answers.parsed(VmOrder, call), Product.VM, "gpus_per_vm", call)

    def _deploy_containers(self, call: Call) -> Response:
        order = answers.parsed(ContainerOrder, call)
        if order.resource_id in self._market.machines or order.resource_id in self._market.settled:
            return answers.failed(409, "A resource with this id exists")
        return self._deploy(order, Product.CONTAINER, "gpus_per_container", call)

    def _deploy(self, order: VmOrder | ContainerOrder, product: Product, gpus_key: str, call: Call) -> Response:
        market = self._market
        hardware = market.inventory.find(product, order.hardware_id)
        if hardware is None:
            return answers.no_hardware()
        if getattr(order, gpus_key) > hardware.gpus:
            return answers.too_many_gpus(gpus_key, hardware.gpus)
        if order.node_pool_id is not None:
            return answers.failed(403, "You have no access to this node pool")
        cost_nano = order.gpus * hardware.gpu_nano * order.duration_hours
        if cost_nano > market.balance_nano(call.now):
            return answers.no_funds(cost_nano)
        if "rival" in call.faults:
            market.inventory.lose_to_rival(hardware, call.now, market.faults)
        replicas = order.container_config.replica_count if isinstance(order, ContainerOrder) else 1
        place = market.inventory.place(hardware, replicas, order.location, call.now)
        if place is None or "stockout" in call.faults:
            return answers.no_stock(410 if market.faults.stockout_form == "410" else 400)
        deployment = market.rent(order, hardware, place, call.now, call.faults)
        if "created_with_error" in call.faults:
            return answers.failed(500, "The deployment could not be scheduled")
        return json_response(200, {"status": "success", "deployment_id": deployment.id})

    def _extend(self, product: Product, call: Call) -> Response:
        market, deployment = self._market, self._market.found(call, product, at_once=True)
        hours = answers.parsed(Extension, call).duration_hours
        if deployment.final or deployment.delete_asked_at is not None:
            return answers.failed(409, f"The deployment is {deployment.status(call.now)}")
        if deployment.hourly_nano * hours > market.balance_nano(call.now):
            raise Refusal(answers.no_funds(deployment.hourly_nano * hours))
        deployment.hours += hours
        return json_response(200, {"data": market.row(deployment, call.now)})

    def _destroy(self, product: Product, call: Call) -> Response:
        deployment = self._market.found(call, product, at_once=True)
        if deployment.final:
            return answers.failed(409, f"The deployment is {deployment.final}")
        if deployment.delete_asked_at is None:
            deployment.delete_asked_at = call.now
        return json_response(200, {"status": "success"})

    def _update(self, call: Call) -> Response:
        market, deployment = self._market, self._market.found(call, Product.CONTAINER, at_once=True)
        patch = answers.parsed(ContainerPatch, call)
        if deployment.status(call.now) != "running":
            return answers.failed(409, f"The deployment is {deployment.status(call.now)}")
        deployment.redeploy(patch, call.now, market.rng.uniform(*market.faults.boot_s))
        return json_response(200, {"status": "success", "deployment_id": deployment.id})
