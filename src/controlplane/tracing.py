"""OpenTelemetry, with the extra `otel`: a span for every call, sent to a collector by OTLP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class TracingError(Exception):
    """Tracing was asked for and cannot be had; the text says how to mend it."""


def interceptors(endpoint: str, version: str) -> Sequence[Any]:
    """The server interceptors that trace to the collector at `endpoint` (host:port); none when it is empty."""
    if not endpoint:
        return ()
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.grpc import aio_server_interceptor
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise TracingError("tracing needs the extra: pip install 'gpuplane[otel]'") from None
    provider = TracerProvider(resource=Resource.create({"service.name": "gpuplane", "service.version": version}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=True)))
    return (aio_server_interceptor(tracer_provider=provider),)  # type: ignore[no-untyped-call]
