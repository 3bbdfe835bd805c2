"""The wire side of the generator service: translate, one call, translate back."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf import empty_pb2

from simulacra.domain import (
    ModelType,
    ProgressStatus,
    ReportFormat,
    SyntheticDatasetConfig,
    SyntheticDatasetFormat,
    SyntheticProbeConfig,
)
from simulacra.rpc import current_principal
from simulacra.rpc.downloads import stream_file
from simulacra.v1 import common_pb2, job_pb2, probe_pb2, probe_pb2_grpc
from simulacra.v1 import synthetic_dataset_pb2 as pb
from simulacra.v1 import synthetic_dataset_pb2_grpc as pb_grpc
from simulacra.wire import enum_from_proto, from_proto, masked_fields, to_proto
from simulacra_generator.files import FileService
from simulacra_generator.generation import GenerationService
from simulacra_generator.probes import ArrowPiece, ProbeService
from simulacra_generator.service import DatasetService

__all__ = ["ProbeServicer", "SyntheticDatasetServicer"]

_UPDATABLE = ("name", "description", "delivery")


class SyntheticDatasetServicer(pb_grpc.SyntheticDatasetServiceServicer):
    """Synthetic datasets, their generation and their rows."""

    def __init__(self, datasets: DatasetService, generation: GenerationService, files: FileService) -> None:
        self._datasets = datasets
        self._generation = generation
        self._files = files

    async def CreateSyntheticDataset(
        self, request: pb.CreateSyntheticDatasetRequest, context: Any
    ) -> pb.SyntheticDataset:
        config = from_proto(request.config, SyntheticDatasetConfig)
        return to_proto(
            await self._datasets.create(current_principal(), config, request_id=request.request_id)
        )

    async def GetSyntheticDataset(
        self, request: pb.GetSyntheticDatasetRequest, context: Any
    ) -> pb.SyntheticDataset:
        return to_proto(await self._datasets.get(current_principal(), request.id))

    async def ListSyntheticDatasets(
        self, request: pb.ListSyntheticDatasetsRequest, context: Any
    ) -> pb.ListSyntheticDatasetsResponse:
        items, token, total = await self._datasets.list(
            current_principal(),
            search_term=request.search_term,
            statuses=[s for each in request.statuses if (s := enum_from_proto(each, ProgressStatus))],
            generator_id=request.generator_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        results = [to_proto(item, pb.SyntheticDatasetListItem) for item in items]
        return pb.ListSyntheticDatasetsResponse(results=results, next_page_token=token, total_count=total)

    async def UpdateSyntheticDataset(
        self, request: pb.UpdateSyntheticDatasetRequest, context: Any
    ) -> pb.SyntheticDataset:
        changes = masked_fields(request, request.update_mask, allowed=_UPDATABLE)
        return to_proto(await self._datasets.update(current_principal(), request.id, changes))

    async def DeleteSyntheticDataset(
        self, request: pb.DeleteSyntheticDatasetRequest, context: Any
    ) -> empty_pb2.Empty:
        await self._datasets.delete(current_principal(), request.id)
        return empty_pb2.Empty()

    async def GetSyntheticDatasetConfig(
        self, request: pb.GetSyntheticDatasetConfigRequest, context: Any
    ) -> pb.SyntheticDatasetConfig:
        return to_proto(await self._datasets.config(current_principal(), request.id))

    async def StartGeneration(self, request: pb.StartGenerationRequest, context: Any) -> job_pb2.Job:
        job = await self._generation.start(
            current_principal(),
            request.synthetic_dataset_id,
            request_id=request.request_id,
            validate_only=request.validate_only,
        )
        return to_proto(job)

    async def CancelGeneration(self, request: pb.CancelGenerationRequest, context: Any) -> job_pb2.Job:
        return to_proto(await self._generation.cancel(current_principal(), request.synthetic_dataset_id))

    async def GetGenerationProgress(
        self, request: pb.GetGenerationProgressRequest, context: Any
    ) -> job_pb2.JobProgress:
        return to_proto(await self._generation.progress(current_principal(), request.synthetic_dataset_id))

    async def DownloadSyntheticDataset(
        self, request: pb.DownloadSyntheticDatasetRequest, context: Any
    ) -> AsyncIterator[common_pb2.DownloadChunk]:
        form = enum_from_proto(request.format, SyntheticDatasetFormat) or SyntheticDatasetFormat.PARQUET
        file = await self._files.download(
            current_principal(), request.id, form, neutralise_formulas=request.neutralize_formulas
        )
        async for chunk in stream_file(file, request.offset):
            yield common_pb2.DownloadChunk(**chunk.fields())

    async def ReadSyntheticTable(
        self, request: pb.ReadSyntheticTableRequest, context: Any
    ) -> AsyncIterator[common_pb2.ArrowChunk]:
        pieces = self._files.read(
            current_principal(),
            request.synthetic_dataset_id,
            table_name=request.table_name,
            columns=request.columns,
            max_rows=request.max_rows if request.HasField("max_rows") else None,
        )
        async for piece in pieces:
            yield _arrow_chunk(piece)

    async def GetDataReport(
        self, request: pb.GetDataReportRequest, context: Any
    ) -> AsyncIterator[common_pb2.DownloadChunk]:
        file = await self._files.report(
            current_principal(),
            request.synthetic_dataset_id,
            table_name=request.table_name,
            model_type=enum_from_proto(request.model_type, ModelType) or ModelType.TABULAR,
            form=enum_from_proto(request.format, ReportFormat) or ReportFormat.HTML,
        )
        async for chunk in stream_file(file, request.offset):
            yield common_pb2.DownloadChunk(**chunk.fields())


class ProbeServicer(probe_pb2_grpc.ProbeServiceServicer):
    """Probes."""

    def __init__(self, probes: ProbeService) -> None:
        self._probes = probes

    async def Probe(self, request: probe_pb2.ProbeRequest, context: Any) -> probe_pb2.ProbeResponse:
        probes = await self._probes.probe(from_proto(request.config, SyntheticProbeConfig))
        return probe_pb2.ProbeResponse(probes=[to_proto(probe, probe_pb2.Probe) for probe in probes])

    async def ProbeStream(
        self, request: probe_pb2.ProbeStreamRequest, context: Any
    ) -> AsyncIterator[common_pb2.ArrowChunk]:
        config = from_proto(request.config, SyntheticProbeConfig)
        async with aclosing(self._probes.stream(config)) as pieces:
            async for piece in pieces:
                yield _arrow_chunk(piece)


def _arrow_chunk(piece: ArrowPiece) -> common_pb2.ArrowChunk:
    return common_pb2.ArrowChunk(table_name=piece.table_name, data=piece.data, total_rows=piece.total_rows)
