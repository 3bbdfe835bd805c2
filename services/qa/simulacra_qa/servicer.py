"""The wire side of the service: translate, one call, translate back."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from simulacra import wire
from simulacra.v1 import internal_pb2, internal_pb2_grpc
from simulacra_qa.service import Evaluated, EvaluationRequest, EvaluationService

__all__ = ["QaInternalServicer"]


class QaInternalServicer(internal_pb2_grpc.QaInternalServiceServicer):
    """What the qa service does for the other services."""

    def __init__(self, service: EvaluationService) -> None:
        self._service = service

    async def EvaluateArtifacts(
        self, request: internal_pb2.EvaluateArtifactsRequest, context: Any
    ) -> AsyncIterator[internal_pb2.EvaluateProgress]:
        async with aclosing(self._service.evaluate(_request(request))) as events:
            async for event in events:
                if isinstance(event, Evaluated):
                    yield internal_pb2.EvaluateProgress(done=True, metrics=wire.to_proto(event.metrics))
                else:
                    yield internal_pb2.EvaluateProgress(value=event.value, max=event.max)


def _request(request: internal_pb2.EvaluateArtifactsRequest) -> EvaluationRequest:
    return EvaluationRequest(
        synthetic=request.synthetic_artifact,
        training=request.training_artifact,
        holdout=request.holdout_artifact,
        report=request.report_artifact,
        title=request.title,
        table_name=request.table_name,
        seed=request.seed,
    )
