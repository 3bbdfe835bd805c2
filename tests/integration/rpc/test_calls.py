"""A call over a real server: identity, errors, deadlines, limits."""

import asyncio

import grpc
import pytest

from simulacra.errors import (
    DeadlineExceeded,
    Internal,
    MessageTooLarge,
    MethodUnimplemented,
    ServiceUnavailable,
    StorageFull,
    UnsignedCall,
)
from simulacra.rpc import PrincipalSigner, Registration, Server, acting_as, current_principal
from tests.integration.rpc.echo import ANN, SERVICE, Bytes, Connect, Echo, EchoStub, Serve, add_echo, drain


async def test_the_handler_knows_who_calls_and_the_request_id(stub: EchoStub) -> None:
    answer = await stub.say(Bytes(value=b"who"), metadata=(("x-request-id", "r-1"),))
    assert answer.value == b"Ann r-1"


async def test_a_call_without_a_request_id_gets_one(stub: EchoStub) -> None:
    answer = await stub.say(
        Bytes(value=b"who"), metadata=(("x-request-id", "no good: ü".encode().hex() + "!"),)
    )
    assert len(answer.value.split()[1]) == 32


async def test_errors_arrive_as_the_class_that_was_raised(stub: EchoStub) -> None:
    with pytest.raises(StorageFull, match="no space left") as caught:
        await stub.say(Bytes(value=b"full"))
    assert caught.value.metadata == {"path": "/data"}
    assert caught.value.retry_after == 2.5


async def test_a_crash_is_internal_and_tells_nothing_but_the_request_id(stub: EchoStub) -> None:
    with pytest.raises(Internal) as caught:
        await stub.say(Bytes(value=b"crash"), metadata=(("x-request-id", "r-7"),))
    assert "secret" not in caught.value.message
    assert caught.value.metadata == {"request_id": "r-7"}


async def test_streams_fail_with_rich_errors_too(stub: EchoStub, echo: Echo) -> None:
    got: list[bytes] = []
    with pytest.raises(StorageFull):
        await drain(stub.repeat(Bytes(value=b"full")), got)
    assert got == [b"full"] * 3

    async def requests() -> object:
        yield Bytes(value=b"full")

    with pytest.raises(StorageFull):
        await stub.collect(requests())
    with pytest.raises(StorageFull):
        await anext(aiter(stub.chat(requests())))


async def test_unimplemented_methods_say_why(stub: EchoStub, server: Server, connect: Connect) -> None:
    with pytest.raises(MethodUnimplemented, match="it needs a scheduler"):
        await stub.say(Bytes(value=b"later"))
    nothing = connect(server).unary_unary(f"/{SERVICE}/Nothing")
    with pytest.raises(MethodUnimplemented, match="no such method") as caught:
        await nothing(b"")
    assert caught.value.__cause__ is not None


async def test_the_base_class_of_generated_code_is_unimplemented(serve: Serve, connect: Connect) -> None:
    class Base:  # as grpc_python writes it: a plain function that raises
        def say(self, request: object, context: grpc.ServicerContext) -> None:
            context.set_code(grpc.StatusCode.UNIMPLEMENTED)
            context.set_details("Method not implemented!")
            raise NotImplementedError("Method not implemented!")

        collect = repeat = chat = say

    stub = EchoStub(connect(await serve(Registration(add_echo, Base()))))
    with pytest.raises(MethodUnimplemented, match=f"{SERVICE}/Say is not there yet"):
        await stub.say(Bytes())
    with pytest.raises(MethodUnimplemented):
        await anext(aiter(stub.repeat(Bytes())))


@pytest.mark.parametrize("signer_key", [None, b"another key, 16 bytes or more"])
async def test_unsigned_and_forged_calls_are_refused(
    server: Server, connect: Connect, echo: Echo, signer_key: bytes | None
) -> None:
    stub = EchoStub(connect(server, signer=PrincipalSigner(signer_key) if signer_key else None))
    with pytest.raises(UnsignedCall):
        await stub.say(Bytes())
    with pytest.raises(UnsignedCall):
        await anext(aiter(stub.repeat(Bytes())))
    assert echo.calls == 0


async def test_a_call_is_made_as_the_current_principal(server: Server, connect: Connect, echo: Echo) -> None:
    stub = EchoStub(connect(server, principal=None))
    with pytest.raises(UnsignedCall):
        await stub.say(Bytes())
    with acting_as(ANN, request_id="r-2"):
        answer = await stub.say(Bytes(value=b"who"))
        assert current_principal() == ANN
    assert answer.value == b"Ann r-2"


async def test_a_unary_call_has_a_deadline(server: Server, connect: Connect, echo: Echo) -> None:
    stub = EchoStub(connect(server))
    await stub.say(Bytes())
    assert echo.time_remaining is not None
    assert 9 < echo.time_remaining < 10.1  # gRPC counts from a clock of coarse ticks
    with pytest.raises(DeadlineExceeded):
        await stub.say(Bytes(value=b"hang"), timeout=0.05)
    await asyncio.wait_for(echo.ended.wait(), 5)


async def test_leaving_a_stream_cancels_its_handler(stub: EchoStub, echo: Echo) -> None:
    async with stub.repeat(Bytes(value=b"hang")) as stream:
        await anext(aiter(stream))
        await echo.started.wait()
    await asyncio.wait_for(echo.ended.wait(), 5)


@pytest.mark.parametrize("method", ["Say", "Repeat", "Collect", "Chat"])
async def test_bytes_that_are_no_message_are_the_callers_fault(
    server: Server, connect: Connect, method: str
) -> None:
    channel = connect(server)
    streams_in, streams_out = method in ("Collect", "Chat"), method in ("Repeat", "Chat")
    kind = f"{'stream' if streams_in else 'unary'}_{'stream' if streams_out else 'unary'}"
    garbage = b"\xff\xff\xff"
    make = getattr(channel.raw, kind)(f"/{SERVICE}/{method}")
    call = make(iter([garbage]) if streams_in else garbage, metadata=channel.metadata())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (anext(aiter(call)) if streams_out else call)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "3 bytes" in str(caught.value.details())


async def test_messages_over_four_mebibytes_are_named(stub: EchoStub) -> None:
    await stub.say(Bytes(value=b"x" * (4 * 1024 * 1024 - 16)))
    with pytest.raises(MessageTooLarge, match="stream of chunks"):
        await stub.say(Bytes(value=b"x" * (5 << 20)))
    with pytest.raises(MessageTooLarge):
        await stub.say(Bytes(value=b"huge"))


async def test_a_call_to_nobody_is_unavailable_and_a_restart_is_found(
    serve: Serve, connect: Connect, echo: Echo
) -> None:
    server = await serve(Registration(add_echo, echo))
    stub = EchoStub(connect(server))
    await stub.say(Bytes())
    await server.stop(0)
    with pytest.raises(ServiceUnavailable):
        await stub.say(Bytes())
    await serve(Registration(add_echo, echo), port=server.port)
    async with asyncio.timeout(5):
        while True:
            try:
                await stub.say(Bytes())
                break
            except ServiceUnavailable:
                pass
