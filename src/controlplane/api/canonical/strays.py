"""gpuplane.v1.Strays. The scope table lets only operators in."""

from __future__ import annotations

from gpuplane.v1 import stray_pb2
from gpuplane.v1 import stray_service_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.canonical.shapes import Plane
from controlplane.domain.principal import ALL
from controlplane.domain.stray import StrayMachine
from controlplane.usecases import strays
from controlplane.usecases.pages import read_page
from controlplane.wire.stray import stray_kind_of, stray_message


class Strays:
    """Shows machines that no live instance claims, and takes decisions about them."""

    service = "gpuplane.v1.Strays"

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._core = plane.core

    async def get_stray(self, request: pb.GetStrayRequest, _call: Call) -> stray_pb2.Stray:
        return stray_message(await strays.stray_of(self._core, request.id))

    async def list_strays(self, request: pb.ListStraysRequest, _call: Call) -> pb.ListStraysResponse:
        kind = stray_kind_of(request.kind, "kind")
        where: dict[str, object] = {"provider": request.provider} if request.provider else {}
        if kind is not None:
            where["kind"] = kind.value

        async def fetch(before_id: str, limit: int) -> list[tuple[str, StrayMachine]]:
            rows = await self._core.store.select(ALL, StrayMachine, where, before_id, limit)
            return [(row.id, row) for row in rows]

        query = ("strays", request.provider, request.kind)
        page = await read_page(self._plane.tokens, query, request.page_size, request.page_token, None, fetch)
        return pb.ListStraysResponse(strays=map(stray_message, page.items), next_page_token=page.next_page_token)

    async def adopt_stray(self, request: pb.AdoptStrayRequest, _call: Call) -> stray_pb2.Stray:
        return stray_message(await strays.adopt(self._core, request.id, request.account_id))

    async def destroy_stray(self, request: pb.DestroyStrayRequest, _call: Call) -> stray_pb2.Stray:
        return stray_message(await strays.destroy(self._core, request.id))
