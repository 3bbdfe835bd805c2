"""OpenTelemetry, when its packages are installed and an exporter is configured; otherwise nothing."""

import importlib
import os
from collections.abc import Mapping

import grpc

__all__ = ["tracing_server_interceptors"]


def tracing_server_interceptors(
    environment: Mapping[str, str] = os.environ,
) -> list[grpc.aio.ServerInterceptor]:
    """Returns the interceptor that makes a span of each call; the SDK reads its own `OTEL_` variables."""
    if not environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return []
    try:
        instrumentation = importlib.import_module("opentelemetry.instrumentation.grpc")
    except ImportError:
        return []
    return [instrumentation.aio_server_interceptor()]
