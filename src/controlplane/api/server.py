"""The gRPC server: generic handlers over plain servicers, health, reflection, graceful stop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import grpc
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from controlplane import logs
from controlplane.api.interceptors.auth import Authenticator
from controlplane.api.interceptors.keyless import KeylessCallers
from controlplane.api.interceptors.limits import KeyLimits, Limits
from controlplane.api.interceptors.pipeline import MAX_MESSAGE_BYTES, Pipeline
from controlplane.api.methods import Method, methods_of
from controlplane.dialect import Dialect
from controlplane.metrics import Metrics

_OPTIONS = (
    # A little above what we accept, so that we refuse it with details; gRPC refuses what is larger.
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES + (1 << 20)),
    ("grpc.max_send_message_length", -1),
    # Envoy lets headers of 60 KiB in, and says what is wrong with larger ones; gRPC's own limits are 8 and 16 KiB.
    ("grpc.max_metadata_size", 64 << 10),
    ("grpc.absolute_max_metadata_size", 128 << 10),
    # Private to gRPC (its PR 34782): without them it closes calls when thousands arrive at once. tests/unit
    # hold a storm of 5,000 against them.
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 25_000),
    # Each process has its own address: shared ports starve processes (reference/engine.md section 1).
    ("grpc.so_reuseport", 0),
    # Watch streams are silent for long. Clients may ping every 5 s, and a dead one is found within 80 s.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
)


class ServiceImpl(Protocol):
    """A servicer: a plain class with one method per rpc, named after it in snake_case.

    Unary: `async def get_instance(self, request, call: Call) -> Message | bytes`. Server streaming: an async
    generator of the same signature that yields Message | bytes. Bytes are a serialized answer and are sent
    untouched. A handler raises PlaneError; any other exception is a fault of ours.
    """

    @property
    def service(self) -> str:
        """Full name, e.g. "gpuplane.v1.Instances"; a class attribute does."""
        ...


class PlaneServer:
    """A server that is built but not started."""

    def __init__(self, server: grpc.aio.Server, checker: Any, services: Sequence[str], stopping: asyncio.Event) -> None:
        self._server = server
        self._health = checker
        self._services = ("", *services)
        self.stopping = stopping
        self.addresses: list[str] = []

    def listen(self, address: str) -> str:
        """Listen on `unix:/path`, `host:port` or `host:0`; returns the address with its real port."""
        port = self._server.add_insecure_port(address)
        if not address.startswith("unix"):
            address = f"{address.rpartition(':')[0]}:{port}"
        self.addresses.append(address)
        return address

    async def start(self) -> None:
        """Take calls. Health is NOT_SERVING until `set_serving`."""
        await self.set_serving(False)
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """Tell grpc.health.v1 whether work is taken."""
        states = health_pb2.HealthCheckResponse
        for service in self._services:
            await self._health.set(service, states.SERVING if serving else states.NOT_SERVING)

    async def stop(self, grace: float) -> None:
        """Take no more calls, let streams say good-bye, wait up to `grace` seconds, cut what is left."""
        self.stopping.set()
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)


def build_server(
    services: Iterable[ServiceImpl],
    authenticator: Authenticator,
    *,
    scopes: Mapping[str, str],
    limits: KeyLimits | None = None,
    dialects: Iterable[Dialect] = (),
    keyless: Mapping[str, KeylessCallers] | None = None,
    metrics: Metrics | None = None,
    addresses: Iterable[str] = (),
    interceptors: Sequence[Any] = (),
) -> PlaneServer:
    """Compose a server. A method without handler or scope is an error now, not when it is first called."""
    services = list(services)
    stopping = asyncio.Event()
    pipeline = Pipeline(
        authenticator=authenticator,
        scopes=scopes,
        limits=limits or KeyLimits(Limits()),
        metrics=metrics or Metrics(),
        renderers={dialect.name: dialect.render_error for dialect in dialects if dialect.render_error},
        dialects={service: dialect for dialect in dialects for service in dialect.services},
        keyless=keyless or {},
        stopping=stopping,
        log=logs.get("api"),
    )
    names = [servicer.service for servicer in services]
    checker = health.aio.HealthServicer()
    server = grpc.aio.server(options=_OPTIONS, interceptors=interceptors)
    server.add_generic_rpc_handlers((
        _Methods(pipeline, services),
        _health_handlers(checker),
        *_reflection_handlers([*names, health.SERVICE_NAME, reflection.SERVICE_NAME]),
        _Unknown(pipeline),
    ))  # fmt: skip
    plane = PlaneServer(server, checker, names, stopping)
    for address in addresses:
        plane.listen(address)
    return plane


class _Methods:
    """All our methods in one look-up."""

    def __init__(self, pipeline: Pipeline, services: Iterable[ServiceImpl]) -> None:
        self._handlers = {
            method.path: _handler(pipeline, servicer, method)
            for servicer in services
            for method in methods_of(servicer.service)
        }

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """gRPC asks here for the handler of every call."""
        return self._handlers.get(details.method)


class _Unknown:
    """The last resort: every other path."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """A handler that refuses without reading, so that it fits every shape of call."""
        return grpc.stream_stream_rpc_method_handler(self._pipeline.unknown(details.method))


def _handler(pipeline: Pipeline, servicer: ServiceImpl, method: Method) -> grpc.RpcMethodHandler:
    if method.client_streaming:
        raise TypeError(f"{method.label} streams requests, which this server does not take")
    handler = getattr(servicer, method.handler, None)
    if handler is None:
        raise TypeError(f"{type(servicer).__name__} lacks {method.handler} for {method.label}")
    if method.path not in pipeline.scopes:
        raise TypeError(f"{method.label} has no scope: list it in api/scopes.py")
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(pipeline.stream(method, handler))
    return grpc.unary_unary_rpc_method_handler(pipeline.unary(method, handler))


# Health and reflection come without gRPC's add_..._to_server functions: those also register the methods, and
# the accept loop then waits on one more future per registered method, at every call of the whole server.


def _health_handlers(checker: Any) -> grpc.GenericRpcHandler:
    parse = health_pb2.HealthCheckRequest.FromString
    serialize = health_pb2.HealthCheckResponse.SerializeToString
    return grpc.method_handlers_generic_handler(
        health.SERVICE_NAME,
        {
            "Check": grpc.unary_unary_rpc_method_handler(checker.Check, parse, serialize),
            "Watch": grpc.unary_stream_rpc_method_handler(checker.Watch, parse, serialize),
        },
    )


def _reflection_handlers(names: Sequence[str]) -> list[grpc.GenericRpcHandler]:
    servicer = reflection.aio.ReflectionServicer(names)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    # v1 differs from v1alpha in its name only; newer tools ask for it first.
    return [
        grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
        for name in (reflection.SERVICE_NAME, "grpc.reflection.v1.ServerReflection")
    ]
