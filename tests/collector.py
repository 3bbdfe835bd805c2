"""A collector of OpenTelemetry traces on loopback, which keeps the spans that services send."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

__all__ = ["Collector", "running_collector"]


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """What was sent, whole and as spans."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[bytes] = []
        self.spans: list[tuple[str, trace_pb2.Span]] = []

    async def Export(  # noqa: N802 -- the method's name in the protocol
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: Any
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        self.requests.append(request.SerializeToString())
        for resource in request.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans.extend((names["service.name"], span) for span in scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    def names(self, service: str) -> set[str]:
        """The calls that a service has sent spans of."""
        return {span.name.rpartition("/")[2] for sender, span in self.spans if sender == service}

    def failed(self, service: str) -> set[str]:
        """Those of the calls that did not end well."""
        return {
            span.name.rpartition("/")[2]
            for sender, span in self.spans
            for each in span.attributes
            if sender == service and each.key == "rpc.grpc.status_code" and each.value.int_value
        }


@contextlib.asynccontextmanager
async def running_collector() -> AsyncIterator[Collector]:
    """A collector until the block ends."""
    collector = Collector()
    server = grpc.aio.server()
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(collector, server)
    collector.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(0)
