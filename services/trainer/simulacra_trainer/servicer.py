"""The wire side of the trainer: translate, one call, translate back."""

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf import empty_pb2

from simulacra.domain import (
    GeneratorCloneTrainingStatus,
    GeneratorConfig,
    ModelType,
    ProgressStatus,
    ReportFormat,
    SourceTableAddConfig,
)
from simulacra.errors import InvalidArgument
from simulacra.rpc import current_principal
from simulacra.rpc.downloads import stream_file
from simulacra.v1 import (
    common_pb2,
    generator_pb2,
    generator_pb2_grpc,
    internal_pb2,
    internal_pb2_grpc,
    job_pb2,
)
from simulacra.wire import enum_from_proto, enum_to_proto, from_proto, masked_fields, to_proto
from simulacra_trainer.bundles import BundleService
from simulacra_trainer.service import GeneratorService
from simulacra_trainer.tables import TableService
from simulacra_trainer.training import TrainingService
from simulacra_trainer.transfer import ImportHeader, ImportPart, TransferService

__all__ = ["GeneratorServicer", "TrainerInternalServicer"]

_UPDATABLE = ("name", "description")
_TABLE_UPDATABLE = (
    "name",
    "model_configuration",
    "language_model_configuration",
    "primary_key",
    "primary_key_columns",
    "foreign_keys",
    "columns",
)


class GeneratorServicer(generator_pb2_grpc.GeneratorServiceServicer):
    """Generators and their trainings."""

    def __init__(
        self,
        generators: GeneratorService,
        tables: TableService,
        training: TrainingService,
        transfer: TransferService,
    ) -> None:
        self._generators = generators
        self._tables = tables
        self._training = training
        self._transfer = transfer

    async def CreateGenerator(
        self, request: generator_pb2.CreateGeneratorRequest, context: Any
    ) -> generator_pb2.Generator:
        config = from_proto(request.config, GeneratorConfig)
        made = await self._generators.create(current_principal(), config, request_id=request.request_id)
        return to_proto(made)

    async def GetGenerator(
        self, request: generator_pb2.GetGeneratorRequest, context: Any
    ) -> generator_pb2.Generator:
        values = request.view == generator_pb2.GENERATOR_VIEW_FULL
        name = request.table_name if request.HasField("table_name") else None
        return to_proto(
            await self._generators.get(current_principal(), request.id, table_name=name, values=values)
        )

    async def ListGenerators(
        self, request: generator_pb2.ListGeneratorsRequest, context: Any
    ) -> generator_pb2.ListGeneratorsResponse:
        items, token, total = await self._generators.list(
            current_principal(),
            search_term=request.search_term,
            statuses=[s for each in request.statuses if (s := enum_from_proto(each, ProgressStatus))],
            page_size=request.page_size,
            page_token=request.page_token,
        )
        results = [to_proto(item, generator_pb2.GeneratorListItem) for item in items]
        return generator_pb2.ListGeneratorsResponse(results=results, next_page_token=token, total_count=total)

    async def UpdateGenerator(
        self, request: generator_pb2.UpdateGeneratorRequest, context: Any
    ) -> generator_pb2.Generator:
        changes = masked_fields(request, request.update_mask, allowed=_UPDATABLE)
        return to_proto(await self._generators.update(current_principal(), request.id, changes))

    async def DeleteGenerator(
        self, request: generator_pb2.DeleteGeneratorRequest, context: Any
    ) -> empty_pb2.Empty:
        await self._generators.delete(current_principal(), request.id)
        return empty_pb2.Empty()

    async def GetGeneratorConfig(
        self, request: generator_pb2.GetGeneratorConfigRequest, context: Any
    ) -> generator_pb2.GeneratorConfig:
        return to_proto(await self._generators.config(current_principal(), request.id))

    async def CloneGenerator(
        self, request: generator_pb2.CloneGeneratorRequest, context: Any
    ) -> generator_pb2.Generator:
        status = enum_from_proto(request.training_status, GeneratorCloneTrainingStatus)
        return to_proto(
            await self._generators.clone(
                current_principal(),
                request.id,
                status or GeneratorCloneTrainingStatus.NEW,
                name=request.name or None,
                request_id=request.request_id,
            )
        )

    async def ExportGenerator(
        self, request: generator_pb2.ExportGeneratorRequest, context: Any
    ) -> AsyncIterator[common_pb2.DownloadChunk]:
        file = await self._transfer.export(current_principal(), request.id)
        async for chunk in stream_file(file, request.offset):
            yield common_pb2.DownloadChunk(**chunk.fields())

    async def ImportGenerator(
        self, request_iterator: AsyncIterator[generator_pb2.ImportGeneratorRequest], context: Any
    ) -> generator_pb2.Generator:
        return to_proto(await self._transfer.receive(current_principal(), _import_parts(request_iterator)))

    async def AddSourceTable(
        self, request: generator_pb2.AddSourceTableRequest, context: Any
    ) -> generator_pb2.Generator:
        config = from_proto(request.config, SourceTableAddConfig, prefix="config")
        viewer, id = current_principal(), request.generator_id
        return to_proto(await self._tables.add(viewer, id, config, request_id=request.request_id))

    async def UpdateSourceTable(
        self, request: generator_pb2.UpdateSourceTableRequest, context: Any
    ) -> generator_pb2.Generator:
        changes = masked_fields(request.config, request.update_mask, allowed=_TABLE_UPDATABLE)
        viewer, id = current_principal(), request.generator_id
        return to_proto(await self._tables.update(viewer, id, request.table_id, changes))

    async def DeleteSourceTable(
        self, request: generator_pb2.DeleteSourceTableRequest, context: Any
    ) -> generator_pb2.Generator:
        viewer, id = current_principal(), request.generator_id
        return to_proto(await self._tables.delete(viewer, id, request.table_id))

    async def StartTraining(self, request: generator_pb2.StartTrainingRequest, context: Any) -> job_pb2.Job:
        job = await self._training.start(
            current_principal(),
            request.generator_id,
            request_id=request.request_id,
            validate_only=request.validate_only,
        )
        return to_proto(job)

    async def CancelTraining(self, request: generator_pb2.CancelTrainingRequest, context: Any) -> job_pb2.Job:
        return to_proto(await self._training.cancel(current_principal(), request.generator_id))

    async def GetTrainingProgress(
        self, request: generator_pb2.GetTrainingProgressRequest, context: Any
    ) -> job_pb2.JobProgress:
        return to_proto(await self._training.progress(current_principal(), request.generator_id))

    async def GetModelReport(
        self, request: generator_pb2.GetModelReportRequest, context: Any
    ) -> AsyncIterator[common_pb2.DownloadChunk]:
        file = await self._transfer.report(
            current_principal(),
            request.generator_id,
            table_name=request.table_name,
            model_type=enum_from_proto(request.model_type, ModelType) or ModelType.TABULAR,
            form=enum_from_proto(request.format, ReportFormat) or ReportFormat.HTML,
        )
        async for chunk in stream_file(file, request.offset):
            yield common_pb2.DownloadChunk(**chunk.fields())


class TrainerInternalServicer(internal_pb2_grpc.TrainerInternalServiceServicer):
    """What the trainer does for the generator service."""

    def __init__(self, bundles: BundleService) -> None:
        self._bundles = bundles

    async def GetBundles(
        self, request: internal_pb2.GetBundlesRequest, context: Any
    ) -> internal_pb2.GeneratorBundles:
        generator, models = await self._bundles.get(current_principal(), request.generator_id)
        bundles = [
            internal_pb2.TableBundle(
                table_name=name,
                model_type=enum_to_proto(model.model_type),
                artifact_name=model.bundle,
                sha256=model.sha256,
                report_artifact=model.report or "",
            )
            for name, model in models
        ]
        return internal_pb2.GeneratorBundles(generator=to_proto(generator), bundles=bundles)

    async def AddReference(self, request: internal_pb2.AddReferenceRequest, context: Any) -> empty_pb2.Empty:
        await self._bundles.add_reference(
            current_principal(), request.resource_id, user_uri=request.user_uri, user_name=request.user_name
        )
        return empty_pb2.Empty()

    async def RemoveReference(
        self, request: internal_pb2.RemoveReferenceRequest, context: Any
    ) -> empty_pb2.Empty:
        await self._bundles.remove_reference(request.resource_id, user_uri=request.user_uri)
        return empty_pb2.Empty()

    async def RecordUsage(self, request: internal_pb2.RecordUsageRequest, context: Any) -> empty_pb2.Empty:
        await self._bundles.record_usage(
            request.generator_id, usage_id=request.usage_id, datapoints=request.datapoints
        )
        return empty_pb2.Empty()


async def _import_parts(
    requests: AsyncIterator[generator_pb2.ImportGeneratorRequest],
) -> AsyncIterator[ImportPart]:
    async for request in requests:
        match request.WhichOneof("part"):
            case "header":
                header = request.header
                yield ImportHeader(
                    name=header.name or None,
                    total_size=header.total_size if header.HasField("total_size") else None,
                    sha256=header.sha256 or None,
                    request_id=header.request_id or None,
                )
            case "chunk":
                yield request.chunk.offset, request.chunk.data
            case "config":
                yield 0, request.config.file
            case _:
                raise InvalidArgument.of("part", "is required: a header, a chunk or the whole file")
