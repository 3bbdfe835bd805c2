"""Servers on free ports and channels to them."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import ServiceDescriptor

from simulacra.rpc import PrincipalSigner, Registration, Server, ServiceChannel, open_channel
from tests.integration.rpc.echo import (
    ANN,
    KEY,
    Connect,
    Echo,
    EchoSettings,
    EchoStub,
    Serve,
    add_echo,
    describe_echo,
)


@pytest.fixture(scope="session")
def echo_descriptor() -> ServiceDescriptor:
    return describe_echo()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def signer() -> PrincipalSigner:
    return PrincipalSigner(KEY.encode())


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Starts servers on free ports; they stop with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            *registrations: Registration, port: int = 0, ops_port: int | None = None, **options: Any
        ) -> Server:
            settings = EchoSettings(
                data_dir=tmp_path, internal_key=KEY, port=port, ops_port=ops_port, grace=0
            )
            server = Server(settings, registrations, **options)
            await server.start()
            stack.push_async_callback(server.stop, 0)
            return server

        yield start


@pytest.fixture
async def connect(signer: PrincipalSigner) -> AsyncIterator[Connect]:
    """Opens channels as Ann; they close with the test."""
    async with contextlib.AsyncExitStack() as stack:

        def open_to(server: Server, **options: Any) -> ServiceChannel:
            options = {"signer": signer, "principal": ANN, **options}
            channel = open_channel(f"127.0.0.1:{server.port}", **options)
            stack.push_async_callback(channel.close)
            return channel

        yield open_to


@pytest.fixture
async def server(serve: Serve, echo: Echo) -> Server:
    return await serve(Registration(add_echo, echo))


@pytest.fixture
async def stub(server: Server, connect: Connect) -> EchoStub:
    return EchoStub(connect(server))
