"""gpuplane.dialects.shopper.v1.System."""

from __future__ import annotations

from google.api.httpbody_pb2 import HttpBody
from gpuplane.dialects.shopper.v1 import system_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.dialects.shared import rfc3339
from controlplane.api.dialects.shopper.readiness import takes_work
from controlplane.api.plane import Plane
from controlplane.api.vitals import services_of
from controlplane.domain.billing import SECOND

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class System:
    """Tells how the server is."""

    service = "gpuplane.dialects.shopper.v1.System"

    def __init__(self, plane: Plane) -> None:
        self._clock = plane.core.clock
        self._vitals = plane.vitals

    async def get_health(self, _request: pb.GetHealthRequest, call: Call) -> pb.Health:
        services = services_of(self._vitals, await self._vitals.checks())
        well = services["ready"] == "true" and services["lifecycle"] == "running"
        if not well:
            call.set_http_status(503)
        return pb.Health(status="ok" if well else "unavailable", timestamp=self._timestamp(), services=services)

    async def get_readiness(self, _request: pb.GetReadinessRequest, call: Call) -> pb.Readiness:
        ready = takes_work(self._vitals)
        if not ready:
            call.set_http_status(503)
        return pb.Readiness(ready=ready, timestamp=self._timestamp())

    async def get_metrics(self, _request: pb.GetMetricsRequest, _call: Call) -> HttpBody:
        return HttpBody(content_type=_PROMETHEUS, data=self._vitals.exposition())

    def _timestamp(self) -> str:
        now = self._clock.now()
        return rfc3339(now - now % SECOND)
