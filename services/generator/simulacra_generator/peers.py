"""The services that this one calls: trainer for models, connector for seeds and deliveries, qa to judge."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from simulacra.domain import Connector, Generator, ModelMetrics, SyntheticDatasetDelivery
from simulacra.rpc import Principal, ServiceChannel, acting_as
from simulacra.v1 import connector_pb2, connector_pb2_grpc, internal_pb2, internal_pb2_grpc
from simulacra.wire import from_proto

__all__ = ["ConnectorPeer", "DeliveredKey", "DeliveredRows", "QaPeer", "TrainedGenerator", "TrainerPeer"]

_CHECK_SECONDS = 8.0
"""Less than what a client waits for the start of a job."""


@dataclass(frozen=True, slots=True)
class TrainedGenerator:
    """A generator with the artifact and the SHA-256 of the TABULAR model of each of its tables.

    Attributes:
        generator: It.
        bundles: The artifact and the SHA-256 of each table's model.
        reports: The artifact with each model's report and statistics, of those that have one.
    """

    generator: Generator
    bundles: dict[str, tuple[str, str]]
    reports: dict[str, str] = field(default_factory=dict)


class TrainerPeer:
    """The trainer, called in the name of the current principal."""

    def __init__(self, channel: ServiceChannel) -> None:
        self._internal = internal_pb2_grpc.TrainerInternalServiceStub(channel)

    async def trained(self, generator_id: str) -> TrainedGenerator:
        """Reads a trained generator; raises ResourceNotFound, or WrongState when it is not trained."""
        found = await self._internal.GetBundles(internal_pb2.GetBundlesRequest(generator_id=generator_id))
        bundles = {each.table_name: (each.artifact_name, each.sha256) for each in found.bundles}
        reports = {each.table_name: each.report_artifact for each in found.bundles if each.report_artifact}
        return TrainedGenerator(from_proto(found.generator, Generator), bundles, reports)

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


class QaPeer:
    """The qa service."""

    def __init__(self, channel: ServiceChannel) -> None:
        self._internal = internal_pb2_grpc.QaInternalServiceStub(channel)

    async def evaluate_generated(
        self,
        *,
        synthetic: str,
        statistics: str,
        report: str,
        table_name: str,
        title: str,
        seed: int,
        asked: Mapping[str, Sequence[str]],
    ) -> AsyncIterator[tuple[int, int, ModelMetrics | None]]:
        """Has a table compared with statistics; yields value, max and, at the end, the metrics."""
        request = internal_pb2.EvaluateGeneratedRequest(
            synthetic_artifact=synthetic,
            statistics_artifact=statistics,
            report_artifact=report,
            table_name=table_name,
            title=title,
            seed=seed,
            rebalanced_columns=asked["rebalanced_columns"],
            seeded_columns=asked["seeded_columns"],
            imputed_columns=asked["imputed_columns"],
            fair_columns=asked["fair_columns"],
            notes=asked["notes"],
        )
        async for progress in self._internal.EvaluateGenerated(request):
            metrics = from_proto(progress.metrics, ModelMetrics) if progress.done else None
            yield progress.value, progress.max, metrics


@dataclass(frozen=True, slots=True)
class DeliveredKey:
    """A foreign key of a table to deliver."""

    columns: tuple[str, ...]
    referenced_table: str
    referenced_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeliveredRows:
    """A table to deliver: its artifact and its keys."""

    name: str
    artifact_name: str = ""
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[DeliveredKey, ...] = ()

    def to_proto(self) -> internal_pb2.DeliverTable:
        """Returns the message."""
        keys = [internal_pb2.DeliverForeignKey(**asdict(key)) for key in self.foreign_keys]
        return internal_pb2.DeliverTable(
            name=self.name,
            artifact_name=self.artifact_name,
            primary_key=self.primary_key,
            foreign_keys=keys,
        )


class ConnectorPeer:
    """The connector service, called in the name of the current principal."""

    def __init__(self, channel: ServiceChannel) -> None:
        self._connectors = connector_pb2_grpc.ConnectorServiceStub(channel)
        self._internal = internal_pb2_grpc.ConnectorInternalServiceStub(channel)

    async def pull(self, connector_id: str, artifact: str) -> int:
        """Has the data of a connector read into an artifact; returns the number of rows."""
        rows = 0
        request = internal_pb2.PullTableRequest(connector_id=connector_id, artifact_name=artifact)
        async for progress in self._internal.PullTable(request):
            rows = progress.rows
        return rows

    async def get(self, connector_id: str) -> Connector:
        """Reads a connector; raises ResourceNotFound."""
        request = connector_pb2.GetConnectorRequest(id=connector_id)
        return from_proto(await self._connectors.GetConnector(request), Connector)

    async def add_reference(self, connector_id: str, uri: str, name: str) -> None:
        """Notes that a synthetic dataset is delivered through a connector."""
        await self._internal.AddReference(
            internal_pb2.AddReferenceRequest(resource_id=connector_id, user_uri=uri, user_name=name)
        )

    async def release(self, connector_id: str, uri: str) -> None:
        """Notes that a synthetic dataset is no longer delivered through a connector."""
        with acting_as(Principal.of_service("generator")):
            await self._internal.RemoveReference(
                internal_pb2.RemoveReferenceRequest(resource_id=connector_id, user_uri=uri)
            )

    async def deliver(
        self,
        delivery: SyntheticDatasetDelivery,
        tables: Sequence[DeliveredRows],
        *,
        delivery_id: str,
        validate_only: bool = False,
    ) -> AsyncIterator[internal_pb2.DeliverTablesProgress]:
        """Has tables written to a destination; yields how far each is, or nothing if it is only checked."""
        request = internal_pb2.DeliverTablesRequest(
            connector_id=delivery.destination_connector_id,
            location=delivery.location,
            tables=[table.to_proto() for table in tables],
            overwrite_tables=delivery.overwrite_tables,
            append_to_tables=delivery.append_to_tables,
            delivery_id=delivery_id,
            validate_only=validate_only,
        )
        timeout = _CHECK_SECONDS if validate_only else None
        async for progress in self._internal.DeliverTables(request, timeout=timeout):
            yield progress
