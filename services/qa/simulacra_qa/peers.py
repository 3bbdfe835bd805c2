"""The service that this one calls: connector, for the data that a client wants judged."""

from collections.abc import AsyncIterator

from simulacra.domain import Connector, TableSchema
from simulacra.rpc import ServiceChannel
from simulacra.v1 import connector_pb2, connector_pb2_grpc, internal_pb2, internal_pb2_grpc
from simulacra.wire import from_proto

__all__ = ["ConnectorPeer"]


class ConnectorPeer:
    """The connector service, called in the name of the current principal."""

    def __init__(self, channel: ServiceChannel) -> None:
        self._connectors = connector_pb2_grpc.ConnectorServiceStub(channel)
        self._internal = internal_pb2_grpc.ConnectorInternalServiceStub(channel)

    async def get(self, connector_id: str) -> Connector:
        """Reads a connector; raises ResourceNotFound."""
        request = connector_pb2.GetConnectorRequest(id=connector_id)
        return from_proto(await self._connectors.GetConnector(request), Connector)

    async def schema(self, connector_id: str, location: str) -> TableSchema:
        """Reads the columns of a table; raises ResourceNotFound or LocationNotFound."""
        request = connector_pb2.GetSchemaRequest(id=connector_id, location=location)
        return from_proto(await self._connectors.GetSchema(request), TableSchema)

    async def pull(
        self, connector_id: str, location: str, artifact: str, *, max_rows: int | None, seed: int
    ) -> AsyncIterator[internal_pb2.PullTableProgress]:
        """Has a random sample of a table read into an artifact; yields how far it is."""
        request = internal_pb2.PullTableRequest(
            connector_id=connector_id,
            location=location,
            artifact_name=artifact,
            max_rows=max_rows,
            seed=seed,
        )
        async for progress in self._internal.PullTable(request):
            yield progress
