"""The services that this one calls: trainer for models, connector for seeds."""

from dataclasses import dataclass

from simulacra.domain import Generator
from simulacra.rpc import Principal, ServiceChannel, acting_as
from simulacra.v1 import internal_pb2, internal_pb2_grpc
from simulacra.wire import from_proto

__all__ = ["ConnectorPeer", "TrainedGenerator", "TrainerPeer"]


@dataclass(frozen=True, slots=True)
class TrainedGenerator:
    """A generator with the artifact and the SHA-256 of the TABULAR model of each of its tables."""

    generator: Generator
    bundles: dict[str, tuple[str, str]]


class TrainerPeer:
    """The trainer, called in the name of the current principal."""

    def __init__(self, channel: ServiceChannel) -> None:
        self._internal = internal_pb2_grpc.TrainerInternalServiceStub(channel)

    async def trained(self, generator_id: str) -> TrainedGenerator:
        """Reads a trained generator; raises ResourceNotFound, or WrongState when it is not trained."""
        found = await self._internal.GetBundles(internal_pb2.GetBundlesRequest(generator_id=generator_id))
        bundles = {each.table_name: (each.artifact_name, each.sha256) for each in found.bundles}
        return TrainedGenerator(from_proto(found.generator, Generator), bundles)

    async def add_reference(self, generator_id: str, uri: str, name: str) -> None:
        """Notes that a synthetic dataset uses a generator."""
        await self._internal.AddReference(
            internal_pb2.AddReferenceRequest(resource_id=generator_id, user_uri=uri, user_name=name)
        )

    async def release(self, generator_id: str, uri: str) -> None:
        """Notes that a synthetic dataset no longer uses a generator."""
        with acting_as(Principal.of_service("generator")):
            await self._internal.RemoveReference(
                internal_pb2.RemoveReferenceRequest(resource_id=generator_id, user_uri=uri)
            )

    async def record_usage(self, generator_id: str, usage_id: str, datapoints: int) -> None:
        """Counts generated values to a generator; the same `usage_id` counts once."""
        await self._internal.RecordUsage(
            internal_pb2.RecordUsageRequest(
                generator_id=generator_id, usage_id=usage_id, datapoints=datapoints
            )
        )


class ConnectorPeer:
    """The connector service, called in the name of the current principal."""

    def __init__(self, channel: ServiceChannel) -> None:
        self._internal = internal_pb2_grpc.ConnectorInternalServiceStub(channel)

    async def pull(self, connector_id: str, artifact: str) -> int:
        """Has the data of a connector read into an artifact; returns the number of rows."""
        rows = 0
        request = internal_pb2.PullTableRequest(connector_id=connector_id, artifact_name=artifact)
        async for progress in self._internal.PullTable(request):
            rows = progress.rows
        return rows
