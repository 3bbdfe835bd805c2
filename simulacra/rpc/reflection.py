"""gRPC server reflection, v1 and v1alpha, so that grpcurl and Postman know the contract without its files.

The two versions differ in their package name only: the messages are the same on the wire, so one servicer
answers both.
"""

from collections.abc import Iterable
from typing import Final

import grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

__all__ = ["REFLECTION_SERVICES", "reflection_handlers"]

REFLECTION_SERVICES: Final = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)


def reflection_handlers(services: Iterable[str]) -> list[grpc.GenericRpcHandler]:
    """Returns the handlers that describe `services` (full names); their descriptors must be imported."""
    method = grpc.stream_stream_rpc_method_handler(
        ReflectionServicer(services).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return [
        grpc.method_handlers_generic_handler(service, {"ServerReflectionInfo": method})
        for service in REFLECTION_SERVICES
    ]
