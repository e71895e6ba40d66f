"""Traces reach a collector; the collector here is a real gRPC server that takes OTLP."""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

from controlplane import tracing
from controlplane.api.server import build_server
from controlplane.domain.errors import Unauthenticated
from controlplane.domain.principal import Principal


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.names: list[str] = []

    async def Export(self, request: otlp.ExportTraceServiceRequest, context: object) -> object:
        self.names += [span.name for r in request.resource_spans for s in r.scope_spans for span in s.spans]
        return otlp.ExportTraceServiceResponse()


class Nobody:
    def cached(self, token: str, dialect: str) -> Principal | None:
        return None

    async def authenticate(self, token: str, dialect: str) -> Principal:
        raise Unauthenticated("nobody")


async def test_a_call_becomes_a_span_at_the_collector() -> None:
    collector, sink = Collector(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, sink)
    port = sink.add_insecure_port("127.0.0.1:0")
    await sink.start()
    interceptors = tracing.interceptors(f"127.0.0.1:{port}", "1.0")
    server = build_server([], Nobody(), scopes={}, addresses=["127.0.0.1:0"], interceptors=interceptors)
    await server.start()
    async with grpc.aio.insecure_channel(server.addresses[0]) as channel:
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    provider = interceptors[0]._tracer.span_processor  # the batch goes out when it is asked to
    await asyncio.to_thread(provider.force_flush)
    assert any("Health/Check" in name for name in collector.names)
    await server.stop(0)
    await sink.stop(0)


def test_without_an_endpoint_nothing_is_traced() -> None:
    assert tracing.interceptors("", "1.0") == ()
