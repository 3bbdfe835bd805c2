"""The pass-through keeps all of a call: messages, metadata, errors, deadline, cancellation, backpressure."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor

from simulacra.errors import Internal, MessageTooLarge, ServiceUnavailable, StorageFull
from simulacra.rpc import Principal, PrincipalSigner, Registration, Server
from simulacra.rpc.proxy import PassThrough
from tests.integration.rpc.echo import ANN, SERVICE, Bytes, Connect, Echo, EchoStub, Serve, add_echo, drain

EVE = Principal("6", "Eve")


@pytest.fixture
async def door(serve: Serve, connect: Connect, server: Server, echo_descriptor: ServiceDescriptor) -> Server:
    """A server that passes everything on to `server`, as Ann."""

    async def as_ann(metadata: Any) -> Principal:
        return ANN

    proxy = PassThrough("echo", connect(server, principal=None), [echo_descriptor])
    return await serve(authenticate=as_ann, routes={SERVICE: proxy}, receive_limit=16 << 20)


@pytest.fixture
async def far(door: Server, connect: Connect) -> EchoStub:
    return EchoStub(connect(door, signer=None))


async def messages(*values: bytes) -> AsyncIterator[Any]:
    for value in values:
        yield Bytes(value=value)


async def test_all_four_kinds_pass(far: EchoStub) -> None:
    assert (await far.say(Bytes(value=b"hello"))).value == b"hello"
    assert (await far.collect(messages(b"12", b"345"))).value == b"5"
    assert [answer.value async for answer in far.repeat(Bytes(value=b"three"))] == [b"three"] * 3
    assert [answer.value async for answer in far.chat(messages(b"a", b"b"))] == [b"a", b"b"]


async def test_errors_pass_in_all_four_kinds(far: EchoStub) -> None:
    with pytest.raises(StorageFull) as caught:
        await far.say(Bytes(value=b"full"))
    assert (caught.value.retry_after, caught.value.metadata) == (2.5, {"path": "/data"})
    with pytest.raises(StorageFull):
        await far.collect(messages(b"full", b"more"))
    got: list[bytes] = []
    with pytest.raises(StorageFull):
        await drain(far.repeat(Bytes(value=b"full")), got)
    assert len(got) == 3
    with pytest.raises(StorageFull):
        [answer async for answer in far.chat(messages(b"a", b"full"))]
    with pytest.raises(Internal, match="a fault of the service"):
        await far.say(Bytes(value=b"crash"))


async def test_identity_is_replaced_and_forged_headers_are_stripped(
    far: EchoStub, echo: Echo, signer: PrincipalSigner
) -> None:
    forged = (
        ("x-simulacra-principal", signer.sign(EVE)),
        ("x-simulacra-anything", "1"),
        ("authorization", "Bearer key"),
        ("x-request-id", "r-9"),
        ("traceparent", "00-1-2-01"),
        ("data-bin", b"\x00\x01"),
    )
    await far.say(Bytes(), metadata=forged)
    assert echo.principal == ANN
    assert "x-simulacra-anything" not in echo.seen
    assert "authorization" not in echo.seen
    assert echo.seen["x-request-id"] == "r-9"
    assert echo.seen["traceparent"] == "00-1-2-01"
    assert echo.seen["data-bin"] == b"\x00\x01"


async def test_metadata_of_the_answer_passes(door: Server) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{door.port}") as channel:
        call = EchoStub(channel).say(Bytes(value=b"metadata"))
        await call
        assert dict(await call.initial_metadata())["x-first"] == "1"
        assert dict(await call.trailing_metadata())["x-last"] == "2"


async def test_the_deadline_passes(far: EchoStub, echo: Echo) -> None:
    await far.say(Bytes(), timeout=3)
    assert echo.time_remaining is not None
    assert 2 < echo.time_remaining < 3.1  # gRPC counts from a clock of coarse ticks


async def test_cancelling_reaches_the_service(far: EchoStub, echo: Echo) -> None:
    hanging = asyncio.create_task(far.say(Bytes(value=b"hang")))
    await asyncio.wait_for(echo.started.wait(), 5)
    hanging.cancel()
    await asyncio.wait_for(echo.ended.wait(), 5)

    echo.started.clear()
    echo.ended.clear()
    async with far.repeat(Bytes(value=b"hang")) as stream:
        await anext(aiter(stream))
        await echo.started.wait()
    await asyncio.wait_for(echo.ended.wait(), 5)


async def test_a_slow_reader_holds_the_service_back(far: EchoStub, echo: Echo) -> None:
    size = 256 << 10
    async with far.repeat(Bytes(value=b"x" * size)) as stream:
        await anext(aiter(stream))
        # What the service can send into the buffers on the way is bounded; it stops before 64 MiB.
        sent = -1
        while sent != echo.sent:
            sent = echo.sent
            async with asyncio.timeout(5):
                await far.say(Bytes())
        assert echo.sent * size < 64 << 20


async def test_oversize_messages_are_named_to_any_client(door: Server, far: EchoStub) -> None:
    with pytest.raises(MessageTooLarge):
        await far.collect(messages(b"x" * (5 << 20)))
    with pytest.raises(MessageTooLarge):
        await far.say(Bytes(value=b"huge"))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{door.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await EchoStub(channel).say(Bytes(value=b"x" * (5 << 20)))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert b"MESSAGE_TOO_LARGE" in dict(caught.value.trailing_metadata() or ())["grpc-status-details-bin"]


async def test_a_service_that_is_away_is_named(
    far: EchoStub, server: Server, serve: Serve, echo: Echo
) -> None:
    await server.stop(0)
    with pytest.raises(ServiceUnavailable, match="the echo service does not answer") as caught:
        await far.say(Bytes())
    assert caught.value.metadata == {"service": "echo"}
    with pytest.raises(ServiceUnavailable):
        [answer async for answer in far.repeat(Bytes(value=b"three"))]
    await serve(Registration(add_echo, echo), port=server.port)
    async with asyncio.timeout(10):
        while True:
            try:
                await far.say(Bytes())
                return
            except ServiceUnavailable:
                pass
