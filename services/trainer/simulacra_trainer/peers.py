"""The services that the trainer calls: connector for data, qa for reports."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from simulacra.domain import Connector, ModelMetrics, TableSchema
from simulacra.rpc import Principal, ServiceChannel, acting_as
from simulacra.v1 import connector_pb2, connector_pb2_grpc, internal_pb2, internal_pb2_grpc
from simulacra.wire import from_proto

__all__ = ["ConnectorPeer", "QaPeer"]


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
        """Reads the columns and keys of a table; raises ResourceNotFound or LocationNotFound."""
        request = connector_pb2.GetSchemaRequest(id=connector_id, location=location)
        return from_proto(await self._connectors.GetSchema(request), TableSchema)

    async def store(self, data: bytes, *, table_id: str, name: str) -> Connector:
        """Keeps the data of a table as a connector of its own."""
        request = internal_pb2.StoreTableDataRequest(data=data, table_id=table_id, name=name)
        return from_proto(await self._internal.StoreTableData(request), Connector)

    async def add_reference(self, connector_id: str, uri: str, name: str) -> None:
        """Notes that a generator uses a connector."""
        await self._internal.AddReference(
            internal_pb2.AddReferenceRequest(resource_id=connector_id, user_uri=uri, user_name=name)
        )

    async def release(self, connector_id: str, uri: str) -> None:
        """Notes that a generator no longer uses a connector; a table's own goes with its last user."""
        with acting_as(Principal.of_service("trainer")):
            await self._internal.RemoveReference(
                internal_pb2.RemoveReferenceRequest(resource_id=connector_id, user_uri=uri)
            )

    async def pull(
        self, connector_id: str, reads: Sequence[Mapping[str, Any]], names: Mapping[int, str]
    ) -> AsyncIterator[internal_pb2.PullTablesProgress]:
        """Has tables read into artifacts in one snapshot; yields how far each is, the last one with `done`.

        Args:
            connector_id: Where they are.
            reads: What to read, as in `pulling.pull_payloads`.
            names: The artifacts to make, by the tables' positions.
        """
        tables = [_pull_request(read, names) for read in reads]
        request = internal_pb2.PullTablesRequest(connector_id=connector_id, tables=tables)
        async for progress in self._internal.PullTables(request):
            yield progress


def _pull_request(read: Mapping[str, Any], names: Mapping[int, str]) -> internal_pb2.PullTableRequest:
    within = None
    if "within" in read:
        keys = read["within"]
        within = internal_pb2.PullKeys(
            artifact_name=names[keys["index"]],
            columns=keys["columns"],
            referenced_columns=keys["referenced_columns"],
        )
    return internal_pb2.PullTableRequest(
        location=read["location"],
        artifact_name=names[read["index"]],
        columns=read["columns"],
        max_rows=read["max_rows"],
        seed=read["seed"],
        within=within,
    )


class QaPeer:
    """The qa service."""

    def __init__(self, channel: ServiceChannel) -> None:
        self._internal = internal_pb2_grpc.QaInternalServiceStub(channel)

    async def evaluate(
        self,
        *,
        synthetic: str,
        training: str,
        holdout: str,
        report: str,
        table_name: str,
        title: str,
        seed: int,
    ) -> AsyncIterator[tuple[int, int, ModelMetrics | None]]:
        """Has synthetic data compared with training data; yields value, max and, at the end, the metrics."""
        request = internal_pb2.EvaluateArtifactsRequest(
            synthetic_artifact=synthetic,
            training_artifact=training,
            holdout_artifact=holdout,
            report_artifact=report,
            table_name=table_name,
            title=title,
            seed=seed,
        )
        async for progress in self._internal.EvaluateArtifacts(request):
            metrics = from_proto(progress.metrics, ModelMetrics) if progress.done else None
            yield progress.value, progress.max, metrics
