"""A real service with a method of each streaming kind, which the tests of the kernel call."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, wrappers_pb2
from google.protobuf.descriptor import ServiceDescriptor

from simulacra.errors import StorageFull
from simulacra.rpc import (
    Principal,
    Server,
    ServiceChannel,
    ServiceSettings,
    current_principal,
    current_request_id,
)

KEY = "an internal key of tests"
ANN = Principal("1", "Ann")
SERVICE = "simulacra.test.EchoService"

Bytes = wrappers_pb2.BytesValue


class EchoSettings(ServiceSettings):
    service: ClassVar[str] = "echo"


def describe_echo() -> ServiceDescriptor:
    pool = descriptor_pool.Default()
    file = descriptor_pb2.FileDescriptorProto(
        name="simulacra/test/echo.proto",
        package="simulacra.test",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    service = file.service.add(name="EchoService")
    for name, client, server in [
        ("Say", False, False),
        ("Collect", True, False),
        ("Repeat", False, True),
        ("Chat", True, True),
    ]:
        service.method.add(
            name=name,
            input_type=".google.protobuf.BytesValue",
            output_type=".google.protobuf.BytesValue",
            client_streaming=client,
            server_streaming=server,
        )
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(SERVICE)


@dataclass
class Echo:
    """Answers what it is asked to; `seen` is the last call's metadata, `ended` is set when a call is left."""

    seen: dict[str, Any] = field(default_factory=dict)
    principal: Principal | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0
    calls: int = 0
    time_remaining: float | None = None

    async def say(self, request: Any, context: Any) -> Any:
        self.calls += 1
        self.seen = dict(context.invocation_metadata())
        self.principal = current_principal()
        self.time_remaining = context.time_remaining()
        match request.value:
            case b"full":
                raise StorageFull("no space left", retry_after=2.5, path="/data")
            case b"crash":
                raise ZeroDivisionError("secret detail")
            case b"later":
                raise NotImplementedError("it needs a scheduler")
            case b"hang":
                self.started.set()
                await self._forever()
            case b"huge":
                return Bytes(value=b"x" * (5 << 20))
            case b"who":
                return Bytes(value=f"{current_principal().user_name} {current_request_id()}".encode())
            case b"metadata":
                await context.send_initial_metadata((("x-first", "1"),))
                context.set_trailing_metadata((("x-last", "2"),))
        return request

    async def collect(self, requests: Any, context: Any) -> Any:
        self.sent = 0
        async for request in requests:
            self.sent += len(request.value)
            if request.value == b"full":
                raise StorageFull("no space left")
        return Bytes(value=str(self.sent).encode())

    async def repeat(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.sent = 0
        try:
            while True:
                yield Bytes(value=request.value)
                self.sent += 1
                if request.value == b"full" and self.sent == 3:
                    raise StorageFull("no space left")
                if request.value == b"three" and self.sent == 3:
                    return
                if request.value == b"hang":
                    self.started.set()
                    await self._forever()
        finally:
            self.ended.set()

    async def chat(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            if request.value == b"full":
                raise StorageFull("no space left")
            yield request

    async def _forever(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


def add_echo(echo: Echo, server: Any) -> None:
    """Adds the service as generated code would."""
    codec: Any = {"request_deserializer": Bytes.FromString, "response_serializer": Bytes.SerializeToString}
    methods = {
        "Say": grpc.unary_unary_rpc_method_handler(echo.say, **codec),
        "Collect": grpc.stream_unary_rpc_method_handler(echo.collect, **codec),
        "Repeat": grpc.unary_stream_rpc_method_handler(echo.repeat, **codec),
        "Chat": grpc.stream_stream_rpc_method_handler(echo.chat, **codec),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))


async def drain(answers: AsyncIterator[Any], into: list[bytes]) -> None:
    """Reads a stream to its end, keeping what came before an error."""
    async for answer in answers:
        into.append(answer.value)  # noqa: PERF401  # an error must leave what came before


class EchoStub:
    """What generated code makes of a channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        codec: Any = {
            "request_serializer": Bytes.SerializeToString,
            "response_deserializer": Bytes.FromString,
        }
        self.say: Any = channel.unary_unary(f"/{SERVICE}/Say", **codec)
        self.collect: Any = channel.stream_unary(f"/{SERVICE}/Collect", **codec)
        self.repeat: Any = channel.unary_stream(f"/{SERVICE}/Repeat", **codec)
        self.chat: Any = channel.stream_stream(f"/{SERVICE}/Chat", **codec)


Serve = Callable[..., Awaitable[Server]]
Connect = Callable[..., ServiceChannel]
