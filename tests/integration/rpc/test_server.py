"""What a server offers besides its services: health, reflection, ops port, a graceful end."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from simulacra.errors import DatabaseUnavailable, InvalidArgument
from simulacra.rpc import Registration, Server
from simulacra.rpc.reflection import REFLECTION_SERVICES
from tests.integration.rpc.echo import SERVICE, Bytes, Connect, Echo, EchoStub, Serve, add_echo


async def get(port: int, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


async def test_health_needs_no_signature(server: Server) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        for service in ("", SERVICE):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest())
        statuses = aiter(watch)
        assert (await anext(statuses)).status == health_pb2.HealthCheckResponse.SERVING
        await server.drain()
        assert (await anext(statuses)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()


@pytest.mark.parametrize("reflection", REFLECTION_SERVICES)
async def test_reflection_describes_the_services(
    server: Server, reflection: str, echo_descriptor: object
) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.stream_stream(
            f"/{reflection}/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )(
            iter(
                [
                    reflection_pb2.ServerReflectionRequest(list_services=""),
                    reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
                ]
            )
        )
        answers = aiter(call)
        names = {service.name for service in (await anext(answers)).list_services_response.service}
        assert names == {SERVICE, "grpc.health.v1.Health", *REFLECTION_SERVICES}
        files = (await anext(answers)).file_descriptor_response.file_descriptor_proto
        assert any(b"EchoService" in file for file in files)


async def test_the_ops_port_tells_metrics_liveness_and_readiness(
    serve: Serve, connect: Connect, echo: Echo
) -> None:
    missing: str | None = "database"

    async def ready() -> None:
        if missing is not None:
            raise DatabaseUnavailable(missing)

    server = await serve(Registration(add_echo, echo), ops_port=0, ready=ready)
    assert server.ops_port is not None
    await EchoStub(connect(server)).say(Bytes())
    status, metrics = await get(server.ops_port, "/metrics")
    assert status == 200
    assert f'grpc_server_handled_total{{code="OK",method="Say",service="{SERVICE}"}} 1.0' in metrics
    assert "grpc_server_handling_seconds_bucket" in metrics
    assert await get(server.ops_port, "/livez") == (200, "alive\n")
    assert await get(server.ops_port, "/readyz") == (503, "database\n")
    missing = None
    assert await get(server.ops_port, "/readyz") == (200, "ready\n")
    assert (await get(server.ops_port, "/elsewhere"))[0] == 404
    await server.drain()
    assert await get(server.ops_port, "/readyz") == (503, "not serving\n")


async def test_a_stop_lets_calls_in_flight_end(serve: Serve, connect: Connect, echo: Echo) -> None:
    server = await serve(Registration(add_echo, echo))
    stub = EchoStub(connect(server))
    chat = stub.chat()
    await chat.write(Bytes(value=b"1"))
    assert (await chat.read()).value == b"1"
    stopping = asyncio.create_task(server.stop(10))
    await chat.write(Bytes(value=b"2"))
    assert (await chat.read()).value == b"2"
    await chat.done_writing()
    assert await chat.read() is grpc.aio.EOF
    await asyncio.wait_for(stopping, 5)


async def test_a_stop_ends_watches_at_once(serve: Serve, echo: Echo) -> None:
    server = await serve(Registration(add_echo, echo))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        answers = aiter(watch)
        assert (await anext(answers)).status == health_pb2.HealthCheckResponse.SERVING
        await asyncio.wait_for(server.stop(60), 5)
        assert await watch.code() is grpc.StatusCode.UNAVAILABLE


async def test_two_servers_cannot_share_a_port(serve: Serve, echo: Echo) -> None:
    server = await serve(Registration(add_echo, echo))
    with pytest.raises(InvalidArgument, match="another program may have it"):
        await serve(Registration(add_echo, echo), port=server.port)
