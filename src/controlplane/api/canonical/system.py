"""gpuplane.v1.System: facts about the server itself."""

from __future__ import annotations

from datetime import UTC, datetime

from google.api.httpbody_pb2 import HttpBody
from gpuplane.v1 import system_service_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.canonical.shapes import Plane
from controlplane.api.vitals import Vitals, services_of
from controlplane.domain.billing import SECOND
from controlplane.metrics import Metrics

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class System:
    """Tells about the server itself."""

    service = "gpuplane.v1.System"

    def __init__(self, plane: Plane, vitals: Vitals, metrics: Metrics, version: str) -> None:
        self._core = plane.core
        self._vitals = vitals
        self._metrics = metrics
        self._version = version

    async def get_health(self, _request: pb.GetHealthRequest, call: Call) -> pb.Health:
        checks = await self._vitals.checks()
        failed = [check for check in checks if not check.healthy]
        status = "ok" if not failed else "degraded"
        if any(check.vital for check in failed):
            status = "unavailable"
            call.set_http_status(503)
        return pb.Health(
            status=status,
            timestamp=self._timestamp(),
            checks={
                check.name: pb.HealthCheck(
                    healthy=check.healthy,
                    response_time_ms=round(check.seconds * 1000, 3),
                    message=check.message,
                )
                for check in checks
            },
            services=services_of(self._vitals, checks),
        )

    async def get_readiness(self, _request: pb.GetReadinessRequest, call: Call) -> pb.Readiness:
        ready = self._vitals.ready
        if not ready:
            call.set_http_status(503)
        return pb.Readiness(ready=ready, timestamp=self._timestamp())

    async def get_metrics(self, _request: pb.GetMetricsRequest, _call: Call) -> HttpBody:
        return HttpBody(content_type=_PROMETHEUS, data=self._metrics.exposition())

    async def get_server_info(self, _request: pb.GetServerInfoRequest, _call: Call) -> pb.ServerInfo:
        return pb.ServerInfo(
            version=self._version,
            deployment_id=self._core.deployment_id,
            providers=sorted(self._core.providers),
        )

    def _timestamp(self) -> str:
        at = datetime.fromtimestamp(self._core.clock.now() / SECOND, UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
