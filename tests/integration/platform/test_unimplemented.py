"""Which methods of the contract do not work yet. The list may only shrink."""

import asyncio
import importlib
import pkgutil
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

import simulacra.v1
from simulacra.errors import MethodUnimplemented
from simulacra.rpc import call_error
from simulacra.stack import Stack

UNIMPLEMENTED = {
    "ComputeService": {"CreateCompute", "UpdateCompute", "DeleteCompute"},
    "ConnectorService": set[str](),
    "GeneratorService": set[str](),
    "NotificationService": {
        "DeleteNotification",
        "ListNotifications",
        "MarkNotificationRead",
        "WatchNotifications",
    },
    "QaService": set[str](),
    "SyntheticDatasetService": set[str](),
    "UserService": {"CreateUser", "DeleteUser", "GetUser", "ListUsers", "UpdateUserSettings"},
}
SHARING = {"Like", "ListShares", "Share", "TransferOwnership", "Unlike", "Unshare"}
SHARED = ("ConnectorService", "GeneratorService", "SyntheticDatasetService")


def public_services() -> list[ServiceDescriptor]:
    """The services that the gateway routes."""
    modules = [
        importlib.import_module(f"simulacra.v1.{module.name}")
        for module in pkgutil.iter_modules(simulacra.v1.__path__)
        if module.name.endswith("_pb2")
    ]
    services = [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
    return [service for service in services if not service.name.endswith("InternalService")]


async def refusal(channel: Any, method: MethodDescriptor, key: str) -> grpc.aio.AioRpcError | None:
    """Calls a method with an empty request; returns the error that it answers, if any."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    metadata = (("authorization", f"Bearer {key}"),)
    try:
        if method.client_streaming:
            await channel.stream_unary(path)(iter([b""]), metadata=metadata, timeout=10)
        elif method.server_streaming:
            async with asyncio.timeout(2):
                async for _ in channel.unary_stream(path)(b"", metadata=metadata, timeout=10):
                    break
        else:
            await channel.unary_unary(path)(b"", metadata=metadata, timeout=10)
    except grpc.aio.AioRpcError as error:
        return error
    except TimeoutError:
        return None  # a watch that waits for something to happen
    return None


async def is_unimplemented(channel: grpc.aio.Channel, method: MethodDescriptor, key: str) -> bool:
    """Tells whether a method is refused as one that comes later, with its name in the message."""
    error = await refusal(channel, method, key)
    if error is None or error.code() != grpc.StatusCode.UNIMPLEMENTED:
        return False
    known = call_error(error)
    assert isinstance(known, MethodUnimplemented), f"the gateway does not know {method.full_name}: {error}"
    assert method.name in known.message
    return True


async def test_the_list_of_methods_that_do_not_work_yet_is_exact(tmp_path: Path) -> None:
    async with Stack(tmp_path) as stack, grpc.aio.insecure_channel(stack.address) as channel:
        for service in public_services():
            expected = UNIMPLEMENTED.get(service.name, set()) | (SHARING if service.name in SHARED else set())
            found = {
                method.name
                for method in service.methods
                if await is_unimplemented(channel, method, stack.api_key)
            }
            assert found == expected, service.name
