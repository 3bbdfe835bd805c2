"""Runs evaluations in worker processes; each is idempotent by the name of its report artifact."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from simulacra.artifacts import ArtifactStore
from simulacra.domain import ModelMetrics
from simulacra.errors import Internal, InvalidArgument, WorkerLost
from simulacra.jobs import Executor, TaskCrashed, TaskProgress, TaskResult
from simulacra_qa.steps import COMPARE_TASK, EVALUATE_TASK

__all__ = ["Evaluated", "Evaluating", "EvaluationRequest", "EvaluationService", "GeneratedRequest"]

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """The names of the artifacts to compare and of the report artifact to make; `holdout` may be empty."""

    task: ClassVar[str] = EVALUATE_TASK
    required: ClassVar[tuple[str, ...]] = ("synthetic", "training", "report")

    synthetic: str
    training: str
    holdout: str
    report: str
    title: str = ""
    table_name: str = ""
    seed: int = 0
    keep_statistics: bool = True
    key: str = ""
    context_synthetic: str = ""
    context_training: str = ""
    context_holdout: str = ""
    context_key: str = ""


@dataclass(frozen=True, slots=True)
class GeneratedRequest:
    """Generated data to compare with the statistics of their model, and what was asked of them."""

    task: ClassVar[str] = COMPARE_TASK
    required: ClassVar[tuple[str, ...]] = ("synthetic", "statistics", "report")

    synthetic: str
    statistics: str
    report: str
    title: str = ""
    table_name: str = ""
    seed: int = 0
    rebalanced: tuple[str, ...] = ()
    seeded: tuple[str, ...] = ()
    imputed: tuple[str, ...] = ()
    fair: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluating:
    """`value` of `max` is done."""

    value: int
    max: int


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The report artifact is published."""

    metrics: ModelMetrics


class EvaluationService:
    """Compares the data of artifacts.

    Args:
        executor: Where the work runs; started and stopped by the component.
        artifacts: The platform's artifacts.
        embedder: The folder of the embedding model's weights, if it is set.
    """

    def __init__(self, executor: Executor, artifacts: ArtifactStore, *, embedder: Path | None = None) -> None:
        self._executor = executor
        self._embedder = str(embedder) if embedder else ""
        self._artifacts = artifacts

    async def evaluate(
        self, request: EvaluationRequest | GeneratedRequest
    ) -> AsyncGenerator[Evaluating | Evaluated, None]:
        """Yields progress, and at last the metrics; closing the generator kills the worker.

        If the report artifact exists already, its metrics are the only answer.

        Raises:
            InvalidArgument: A required name is empty, or a table lacks a column of the training table.
            ArtifactNotFound: An artifact is gone.
            Internal: The evaluation failed by a fault of ours.
            WorkerLost: The worker died, several times in a row.
        """
        for field in request.required:
            if not getattr(request, field):
                raise InvalidArgument.of(f"{field}_artifact", "is required")
        stored = await asyncio.to_thread(self._stored, request.report)
        if stored is not None:
            yield Evaluated(stored)
            return
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with aclosing(self._attempt(request, attempt)) as events:
                    async for event in events:
                        yield event
                return
            except WorkerLost:
                if attempt == _ATTEMPTS:
                    raise

    async def _attempt(
        self, request: EvaluationRequest | GeneratedRequest, attempt: int
    ) -> AsyncGenerator[Evaluating | Evaluated, None]:
        payload = {**asdict(request), "embedder": self._embedder}
        run = self._executor.run(request.task, payload, attempt=attempt)
        try:
            async with aclosing(run) as events:
                async for event in events:
                    if isinstance(event, TaskResult):
                        yield Evaluated(ModelMetrics.model_validate(event.output["metrics"]))
                    elif isinstance(event, TaskProgress) and event.value is not None:
                        yield Evaluating(event.value, event.max or event.value)
        except TaskCrashed as crash:
            raise Internal(f"the evaluation failed: {crash}") from crash

    def _stored(self, name: str) -> ModelMetrics | None:
        if not self._artifacts.exists(name):
            return None
        return ModelMetrics.model_validate(self._artifacts.open(name).manifest.attributes["metrics"])
