"""The wire side of the service: translate, one call, translate back."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf import empty_pb2

from simulacra import wire
from simulacra.domain import (
    ColumnScore,
    DataLocation,
    EvaluationContext,
    EvaluationReference,
    ModelMetrics,
    ReportFormat,
)
from simulacra.rpc import current_principal
from simulacra.rpc.downloads import stream_file
from simulacra.v1 import (
    common_pb2,
    internal_pb2,
    internal_pb2_grpc,
    job_pb2,
    qa_pb2,
    qa_pb2_grpc,
)
from simulacra.wire import enum_from_proto, from_proto
from simulacra_qa.jobs import ROLES, EvaluationJobs, EvaluationOrder
from simulacra_qa.service import (
    Evaluated,
    Evaluating,
    EvaluationRequest,
    EvaluationService,
    GeneratedRequest,
)

__all__ = ["QaInternalServicer", "QaServicer"]


class QaServicer(qa_pb2_grpc.QaServiceServicer):
    """Evaluations that clients start."""

    def __init__(self, evaluations: EvaluationJobs) -> None:
        self._evaluations = evaluations

    async def Evaluate(self, request: qa_pb2.EvaluateRequest, context: Any) -> job_pb2.Job:
        request_id = request.request_id or None
        return wire.to_proto(
            await self._evaluations.start(current_principal(), _order(request), request_id=request_id)
        )

    async def GetMetrics(
        self, request: qa_pb2.GetMetricsRequest, context: Any
    ) -> AsyncIterator[qa_pb2.GetMetricsResponse]:
        async for part in self._evaluations.metrics(current_principal(), request.job_id):
            yield qa_pb2.GetMetricsResponse(**{_part_of(part): wire.to_proto(part)})

    async def GetReport(
        self, request: qa_pb2.GetReportRequest, context: Any
    ) -> AsyncIterator[common_pb2.DownloadChunk]:
        form = enum_from_proto(request.format, ReportFormat) or ReportFormat.HTML
        file = await self._evaluations.report(current_principal(), request.job_id, form)
        async for chunk in stream_file(file, request.offset):
            yield common_pb2.DownloadChunk(**chunk.fields())

    async def DeleteEvaluation(
        self, request: qa_pb2.DeleteEvaluationRequest, context: Any
    ) -> empty_pb2.Empty:
        await self._evaluations.delete(current_principal(), request.job_id)
        return empty_pb2.Empty()


class QaInternalServicer(internal_pb2_grpc.QaInternalServiceServicer):
    """What the qa service does for the other services."""

    def __init__(self, service: EvaluationService) -> None:
        self._service = service

    async def EvaluateArtifacts(
        self, request: internal_pb2.EvaluateArtifactsRequest, context: Any
    ) -> AsyncIterator[internal_pb2.EvaluateProgress]:
        async with aclosing(self._service.evaluate(_request(request))) as events:
            async for event in events:
                yield _progress(event)

    async def EvaluateGenerated(
        self, request: internal_pb2.EvaluateGeneratedRequest, context: Any
    ) -> AsyncIterator[internal_pb2.EvaluateProgress]:
        async with aclosing(self._service.evaluate(_generated(request))) as events:
            async for event in events:
                yield _progress(event)


def _request(request: internal_pb2.EvaluateArtifactsRequest) -> EvaluationRequest:
    return EvaluationRequest(
        synthetic=request.synthetic_artifact,
        training=request.training_artifact,
        holdout=request.holdout_artifact,
        report=request.report_artifact,
        title=request.title,
        table_name=request.table_name,
        seed=request.seed,
        key=request.key_column,
        context_synthetic=request.context_synthetic_artifact,
        context_training=request.context_training_artifact,
        context_holdout=request.context_holdout_artifact,
        context_key=request.context_key_column,
    )


def _generated(request: internal_pb2.EvaluateGeneratedRequest) -> GeneratedRequest:
    return GeneratedRequest(
        synthetic=request.synthetic_artifact,
        statistics=request.statistics_artifact,
        report=request.report_artifact,
        title=request.title,
        table_name=request.table_name,
        seed=request.seed,
        rebalanced=tuple(request.rebalanced_columns),
        seeded=tuple(request.seeded_columns),
        imputed=tuple(request.imputed_columns),
        fair=tuple(request.fair_columns),
        notes=tuple(request.notes),
    )


def _progress(event: Evaluating | Evaluated) -> internal_pb2.EvaluateProgress:
    if isinstance(event, Evaluated):
        return internal_pb2.EvaluateProgress(done=True, metrics=wire.to_proto(event.metrics))
    return internal_pb2.EvaluateProgress(value=event.value, max=event.max)


def _order(request: qa_pb2.EvaluateRequest) -> EvaluationOrder:
    places = {
        role: from_proto(getattr(request, role), DataLocation, prefix=role)
        for role in ROLES
        if request.HasField(role)  # type: ignore[arg-type]
    }
    return EvaluationOrder(
        synthetic=places.get("synthetic"),
        training=places.get("training"),
        holdout=places.get("holdout"),
        title=request.title or None,
        seed=request.seed,
        reference=enum_from_proto(request.reference, EvaluationReference) or EvaluationReference.TRAINING,
        key=request.key_column or None,
        context=from_proto(request.context, EvaluationContext, prefix="context")
        if request.HasField("context")
        else None,
        target=request.target_column or None,
        embed=request.embed if request.HasField("embed") else True,
    )


def _part_of(part: object) -> str:
    if isinstance(part, ModelMetrics):
        return "metrics"
    return "column" if isinstance(part, ColumnScore) else "pair"
