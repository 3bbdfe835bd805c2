"""Who sees what: a service answers for the signed principal of each call."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from simulacra.client import AsyncSimulacra
from simulacra.errors import InvalidArgument, ResourceNotFound, UnsignedCall
from simulacra.rpc import Principal, PrincipalSigner, ServiceChannel, open_channel
from simulacra.stack import Stack
from simulacra.v1 import generator_pb2 as pb
from simulacra.v1 import generator_pb2_grpc, source_table_pb2
from tests.integration.client.people import people


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with Stack(tmp_path / "platform") as stack:
        yield stack


@pytest.fixture
async def strangers(stack: Stack) -> AsyncIterator[ServiceChannel]:
    """The trainer, called in the name of somebody who owns nothing."""
    signer = PrincipalSigner((stack.data_dir / "internal.key").read_text().strip().encode())
    target = f"127.0.0.1:{stack.ports['trainer']}"
    async with open_channel(target, signer=signer, principal=Principal("stranger", "Stranger")) as channel:
        yield channel


async def test_others_find_nothing_and_use_nothing(stack: Stack, strangers: ServiceChannel) -> None:
    async with AsyncSimulacra(stack.address, stack.api_key) as client:
        source = await client.connectors.upload(people(20))
        config = {"name": "g", "tables": [{"name": "t", "source_connector_id": source.id}]}
        generator = await client.generators.create(config)
    stub = generator_pb2_grpc.GeneratorServiceStub(strangers)
    calls: list[Awaitable[Any]] = [
        stub.GetGenerator(pb.GetGeneratorRequest(id=generator.id)),
        stub.UpdateGenerator(pb.UpdateGeneratorRequest(id=generator.id, name="mine")),
        stub.DeleteGenerator(pb.DeleteGeneratorRequest(id=generator.id)),
        stub.CloneGenerator(pb.CloneGeneratorRequest(id=generator.id)),
        stub.StartTraining(pb.StartTrainingRequest(generator_id=generator.id)),
        stub.CancelTraining(pb.CancelTrainingRequest(generator_id=generator.id)),
        stub.GetTrainingProgress(pb.GetTrainingProgressRequest(generator_id=generator.id)),
    ]
    for call in calls:
        with pytest.raises(ResourceNotFound):
            await call
    assert not (await stub.ListGenerators(pb.ListGeneratorsRequest())).results
    table = source_table_pb2.SourceTableConfig(name="t", source_connector_id=source.id)
    with pytest.raises(InvalidArgument) as refused:
        await stub.CreateGenerator(pb.CreateGeneratorRequest(config=pb.GeneratorConfig(tables=[table])))
    assert [violation.field for violation in refused.value.violations] == ["tables.0.source_connector_id"]


async def test_unsigned_calls_are_refused(stack: Stack) -> None:
    async with AsyncExitStack() as exits:
        channel = await exits.enter_async_context(open_channel(f"127.0.0.1:{stack.ports['trainer']}"))
        with pytest.raises(UnsignedCall):
            await generator_pb2_grpc.GeneratorServiceStub(channel).ListGenerators(pb.ListGeneratorsRequest())
