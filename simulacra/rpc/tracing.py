"""OpenTelemetry, when its packages are installed and an exporter is configured; otherwise nothing."""

import importlib
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import grpc
import structlog

__all__ = ["tracing_server_interceptors"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("simulacra.rpc")


def tracing_server_interceptors(
    service: str, environment: Mapping[str, str] = os.environ
) -> list[grpc.aio.ServerInterceptor]:
    """Returns the interceptor that makes a span of each call and sends it over OTLP's gRPC.

    A span has the method, the caller's address, the status and its message: nothing of requests and replies.
    OpenTelemetry's SDK reads its own `OTEL_` variables.

    Args:
        service: Names the spans' resource, unless `OTEL_SERVICE_NAME` does.
        environment: Says by `OTEL_EXPORTER_OTLP_ENDPOINT` where spans go; without it there are none.
    """
    if not environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return []
    try:
        instrumentation = importlib.import_module("opentelemetry.instrumentation.grpc")
        provider = _provider(environment.get("OTEL_SERVICE_NAME") or f"simulacra-{service}")
    except ImportError:
        log.warning("no_traces", reason="packages are missing: pip install 'simulacra[tracing]'")
        return []
    return [instrumentation.aio_server_interceptor(provider)]


@cache
def _provider(name: str) -> Any:
    """Makes what exports spans, once for each service of a process; it sends the last ones at the end."""
    export = importlib.import_module("opentelemetry.sdk.trace.export")
    exporters = importlib.import_module("opentelemetry.exporter.otlp.proto.grpc.trace_exporter")
    resources = importlib.import_module("opentelemetry.sdk.resources")
    trace = importlib.import_module("opentelemetry.sdk.trace")
    provider = trace.TracerProvider(
        resource=resources.Resource.create({"service.name": name}),
        # Exceptions would be events: their chains quote what drivers say, and are in the logs already.
        span_limits=trace.SpanLimits(max_events=0),
    )
    provider.add_span_processor(export.BatchSpanProcessor(exporters.OTLPSpanExporter()))
    return provider
