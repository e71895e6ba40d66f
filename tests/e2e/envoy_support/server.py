"""A gRPC server with a few canonical methods written by hand: what stands behind Envoy in these tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.api import httpbody_pb2
from google.protobuf import any_pb2, empty_pb2
from google.rpc import error_details_pb2, status_pb2
from gpuplane.v1 import (
    instance_pb2,
    instance_service_pb2,
    instance_service_pb2_grpc,
    key_service_pb2_grpc,
    offer_service_pb2,
    offer_service_pb2_grpc,
    operation_pb2,
    operation_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
    watch_pb2,
)
from grpc_health.v1 import health, health_pb2_grpc

# thousands of streams are opened at once
OPTIONS = [
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 20_000),
]


async def refuse(context: Any, code: grpc.StatusCode, message: str, reason: str, **metadata: str) -> NoReturn:
    """Aborts as the real server does: message, and a status with ErrorInfo for those who read it."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="gpuplane", metadata=metadata))
    status = status_pb2.Status(code=code.value[0], message=message, details=[detail])
    await context.abort(code, message, (("grpc-status-details-bin", status.SerializeToString()),))
    raise AssertionError


class Server:
    """Servicers that note what they saw. `events` feeds the watch streams; None ends them."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.calls: list[str] = []
        self.metadata: dict[str, str] = {}
        self.events: asyncio.Queue[str | None] = asyncio.Queue()
        self.release = asyncio.Event()  # ends every WatchInstances stream
        self.cancelled = asyncio.Event()
        self.unavailable = 0  # so many calls fail with UNAVAILABLE
        self._grpc = grpc.aio.server(options=OPTIONS)

    async def start(self) -> None:
        instance_service_pb2_grpc.add_InstancesServicer_to_server(Instances(self), self._grpc)
        operation_service_pb2_grpc.add_OperationsServicer_to_server(Operations(self), self._grpc)
        key_service_pb2_grpc.add_KeysServicer_to_server(Keys(self), self._grpc)
        offer_service_pb2_grpc.add_OffersServicer_to_server(Offers(self), self._grpc)
        system_service_pb2_grpc.add_SystemServicer_to_server(System(self), self._grpc)
        health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), self._grpc)
        self._grpc.add_insecure_port(f"unix:{self.socket}")
        await self._grpc.start()

    async def stop(self) -> None:
        await self._grpc.stop(0)

    async def saw(self, name: str, context: Any) -> None:
        self.calls.append(name)
        self.metadata = {key: str(value) for key, value in context.invocation_metadata()}
        if self.unavailable:
            self.unavailable -= 1
            await refuse(context, grpc.StatusCode.UNAVAILABLE, "not now", "STORE_UNAVAILABLE")


class Instances(instance_service_pb2_grpc.InstancesServicer):
    def __init__(self, server: Server) -> None:
        self.server = server

    async def CreateInstance(self, request: Any, context: Any) -> operation_pb2.Operation:
        await self.server.saw("CreateInstance", context)
        return operation_pb2.Operation(id="op-1", instance_id=f"{len(request.name)} characters")

    async def GetInstance(self, request: Any, context: Any) -> instance_pb2.Instance:
        await self.server.saw("GetInstance", context)
        if request.id == "late":  # an abort after metadata was sent: the status is in the trailers
            await context.send_initial_metadata((("x-early", "1"),))
        if request.id in ("none", "late"):
            message = f"there is no instance '{request.id}' in this account"
            await refuse(
                context,
                grpc.StatusCode.NOT_FOUND,
                message,
                "RESOURCE_NOT_FOUND",
                resource="instance",
                id=request.id,
            )
        return instance_pb2.Instance(id=request.id, state=instance_pb2.INSTANCE_STATE_RUNNING)

    async def ListInstances(self, request: Any, context: Any) -> instance_service_pb2.ListInstancesResponse:
        big = instance_pb2.Instance(state_message="x" * 1_000_000)
        return instance_service_pb2.ListInstancesResponse(instances=[big] * request.page_size)

    async def UpdateInstance(self, request: Any, context: Any) -> instance_pb2.Instance:
        return instance_pb2.Instance(id=request.id, name=request.name, labels=request.labels)

    async def WatchInstance(self, request: Any, context: Any) -> AsyncIterator[watch_pb2.InstanceEvent]:
        if request.id == "none":
            await refuse(context, grpc.StatusCode.NOT_FOUND, "no such instance", "RESOURCE_NOT_FOUND")
        try:
            while (event := await self.server.events.get()) is not None:
                yield watch_pb2.InstanceEvent(event_id=event)
        except (asyncio.CancelledError, GeneratorExit):  # the latter where the cancel met it in the yield
            self.server.cancelled.set()
            raise

    async def WatchInstances(self, request: Any, context: Any) -> AsyncIterator[watch_pb2.InstanceEvent]:
        yield watch_pb2.InstanceEvent(type=watch_pb2.INSTANCE_EVENT_TYPE_BOOKMARK)
        await self.server.release.wait()
        for number in range(3):  # a burst to every stream at once
            yield watch_pb2.InstanceEvent(event_id=f"evt_{number}")


class Operations(operation_service_pb2_grpc.OperationsServicer):
    def __init__(self, server: Server) -> None:
        self.server = server

    async def WaitOperation(self, request: Any, context: Any) -> operation_pb2.Operation:
        await self.server.release.wait()
        return operation_pb2.Operation(id=request.id)


class Keys(key_service_pb2_grpc.KeysServicer):
    def __init__(self, server: Server) -> None:
        self.server = server

    async def DeleteSshKey(self, request: Any, context: Any) -> empty_pb2.Empty:
        await self.server.saw(f"DeleteSshKey {request.id}", context)
        return empty_pb2.Empty()


class Offers(offer_service_pb2_grpc.OffersServicer):
    """What the second dialect of these tests speaks through: every word that the shim knows."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def GetOffer(self, request: Any, context: Any) -> NoReturn:
        await self.server.saw("GetOffer", context)
        if request.id == "late":
            await context.send_initial_metadata((("x-early", "1"),))
        words = (
            ("x-http-status", "402"),
            ("x-http-type", "application/problem+json"),
            ("x-http-body", '{"pay":true}'),
        )
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "pay", (*words, ("retry-after", "7")))
        raise AssertionError

    async def ListOffers(self, request: Any, context: Any) -> offer_service_pb2.ListOffersResponse:
        await self.server.saw("ListOffers", context)
        words = {
            "accepted": (("x-http-status", "202"), ("operation-id", "op-1")),
            "empty": (("x-http-status", "204"),),
        }
        await context.send_initial_metadata(words.get(request.page_token, (("x-http-unwrap", "1"),)))
        return offer_service_pb2.ListOffersResponse()


class System(system_service_pb2_grpc.SystemServicer):
    def __init__(self, server: Server) -> None:
        self.server = server

    async def GetHealth(self, request: Any, context: Any) -> system_service_pb2.Health:
        await self.server.saw("GetHealth", context)
        if "x-dialect" in self.server.metadata:
            await context.send_initial_metadata((("x-http-status", "503"),))
        return system_service_pb2.Health(status="unavailable")

    async def GetMetrics(self, request: Any, context: Any) -> httpbody_pb2.HttpBody:
        return httpbody_pb2.HttpBody(content_type="text/plain; version=0.0.4", data=b"gpus_total 4.50\n")
