"""gpuplane.v1.Budgets."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from gpuplane.v1 import budget_service_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.canonical.shapes import Plane, currency_of, request_key
from controlplane.domain.errors import invalid
from controlplane.usecases import budgets
from controlplane.wire.budget import PERIODS_BACK, budget_message
from controlplane.wire.common import nano_of


class Budgets:
    """Limits what an account may spend."""

    service = "gpuplane.v1.Budgets"

    def __init__(self, plane: Plane) -> None:
        self._core = plane.core

    async def create_budget(self, request: pb.CreateBudgetRequest, call: Call) -> pb.Budget:
        if not request.HasField("limit"):
            raise invalid("limit", "is required", "")
        if request.period not in PERIODS_BACK:
            raise invalid("period", "must be TOTAL, HOUR, DAY or MONTH", request.period)
        limit = nano_of(request.limit, "limit", await currency_of(self._core, call.principal))
        period, key = PERIODS_BACK[request.period], request_key(request, call)
        return budget_message(await budgets.create(self._core, call.principal, request.name, limit, period, key))

    async def get_budget(self, request: pb.GetBudgetRequest, call: Call) -> pb.Budget:
        return budget_message(await budgets.budget_of(self._core, call.principal, request.id))

    async def list_budgets(self, _request: pb.ListBudgetsRequest, call: Call) -> pb.ListBudgetsResponse:
        rows = await budgets.list_all(self._core, call.principal)
        return pb.ListBudgetsResponse(budgets=map(budget_message, rows))

    async def update_budget(self, request: pb.UpdateBudgetRequest, call: Call) -> pb.Budget:
        limit = None
        if request.HasField("limit"):
            before = await budgets.budget_of(self._core, call.principal, request.id)
            limit = nano_of(request.limit, "limit", before.currency)
        name = request.name if request.HasField("name") else None
        return budget_message(
            await budgets.update(self._core, call.principal, request.id, name, limit, request_key(request, call))
        )

    async def delete_budget(self, request: pb.DeleteBudgetRequest, call: Call) -> Empty:
        await budgets.delete(self._core, call.principal, request.id, request_key(request, call))
        return Empty()
