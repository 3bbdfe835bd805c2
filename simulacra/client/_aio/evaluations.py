"""Evaluations: the quality of any synthetic table, also of one that the platform did not make."""

from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal

from simulacra.client._aio.session import AsyncSession
from simulacra.client._aio.sharing import new_request_id
from simulacra.client._aio.transfers import download, upload
from simulacra.client._frames import Source, as_sources
from simulacra.client._requests import request, validated
from simulacra.domain import (
    ColumnScore,
    DataLocation,
    EvaluationContext,
    EvaluationReference,
    Job,
    ModelMetrics,
    PairScore,
)
from simulacra.errors import InvalidArgument
from simulacra.wire import from_proto

__all__ = ["AsyncEvaluations"]


class AsyncEvaluations:
    """The quality of any synthetic table, measured against the data that it stands for."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def start(
        self,
        synthetic: object,
        training: object,
        holdout: object = None,
        *,
        title: str | None = None,
        seed: int | None = None,
        reference: EvaluationReference | str | None = None,
        key_column: str | None = None,
        context: EvaluationContext | Mapping[str, Any] | None = None,
        target_column: str | None = None,
        embed: bool | None = None,
    ) -> Job:
        """Starts an evaluation and returns its job; `jobs.wait` waits for it.

        Args:
            synthetic: The rows to judge: a `DataLocation` (or its fields as a dict), a frame, an Arrow table
                or a file. Frames and files are uploaded; their connectors stay until they are deleted.
            training: What the generator learnt from, likewise.
            holdout: Rows of the same source that it never saw, likewise; without them there are no distances.
            title: The report's title.
            seed: The seed of everything random.
            reference: What accuracy is measured against: TRAINING (the default) or TRAINING_AND_HOLDOUT.
            key_column: The column that says whose a row is; needed if several are of one subject.
            context: The tables that describe the subjects, like those above, and their `key_column`.
            target_column: The column that models are to predict from synthetic and from training data.
            embed: Whether records are also compared as texts; by default they are.

        Raises:
            InvalidArgument: If a value is wrong, or a table lacks a column of the training table.
        """
        how = {
            "title": title,
            "seed": seed,
            "reference": reference,
            "key_column": key_column,
            "target_column": target_column,
            "embed": embed,
        }
        # All is checked before anything is uploaded.
        request("QaService.Evaluate", how)
        around = _checked(context) if context is not None else {}
        tables = {"synthetic": synthetic, "training": training}
        tables |= {"holdout": holdout} if holdout is not None else {}
        tables |= {f"context.{role}": around[role] for role in _ROLES if around.get(role) is not None}
        sources = {
            role: await self._session.in_thread(_source_of, role, table) for role, table in tables.items()
        }
        places: dict[str, Any] = {role: await self._place(source) for role, source in sources.items()}
        if context is not None:
            here = {role: places.pop(f"context.{role}", None) for role in _ROLES}
            places["context"] = EvaluationContext.model_validate({**around, **here})
        return await self._session.call(
            "QaService.Evaluate", Job, request_id=new_request_id(), **places, **how
        )

    async def metrics(self, job_id: str) -> tuple[ModelMetrics, list[ColumnScore], list[PairScore]]:
        """Returns the metrics of an ended evaluation, and the score of each column and pair of columns."""
        metrics, columns, pairs = ModelMetrics(), [], []
        async with aclosing(self._session.stream("QaService.GetMetrics", job_id=job_id)) as parts:
            async for part in parts:
                if part.HasField("metrics"):
                    metrics = from_proto(part.metrics, ModelMetrics)
                elif part.HasField("column"):
                    columns.append(from_proto(part.column, ColumnScore))
                else:
                    pairs.append(from_proto(part.pair, PairScore))
        return metrics, columns, pairs

    async def report(
        self, job_id: str, file_path: str | Path | None = None, *, format: Literal["HTML", "JSON"] = "HTML"
    ) -> Path:
        """Writes the report of an ended evaluation to a file and returns its path."""
        return await download(self._session, "QaService.GetReport", file_path, job_id=job_id, format=format)

    async def delete(self, job_id: str) -> None:
        """Deletes an ended evaluation with its metrics and its report.

        Raises:
            WrongState: If it has not ended.
        """
        await self._session.do("QaService.DeleteEvaluation", job_id=job_id)

    async def _place(self, source: DataLocation | Source) -> DataLocation:
        if isinstance(source, DataLocation):
            return source
        connector: Any = await upload(self._session, source)
        return DataLocation(connector_id=connector.id)


_ROLES = ("synthetic", "training", "holdout")


def _checked(context: EvaluationContext | Mapping[str, Any]) -> dict[str, Any]:
    """Returns a context's fields; refuses one that lacks a field or has a wrong one."""
    if isinstance(context, EvaluationContext):
        return {name: getattr(context, name) for name in EvaluationContext.model_fields}
    somewhere = DataLocation(connector_id="not uploaded yet")
    places = {role: somewhere for role in _ROLES if context.get(role) is not None}
    validated(EvaluationContext, {**context, **places}, prefix="context")
    return dict(context)


def _source_of(role: str, data: object) -> DataLocation | Source:
    """Returns where a table is, or the table that is to be uploaded; an error names its role."""
    if isinstance(data, DataLocation):
        return data
    if isinstance(data, Mapping) and "connector_id" in data:
        return validated(DataLocation, data, prefix=role)
    try:
        sources = as_sources(data, name=role.replace(".", "_"))
    except InvalidArgument as error:
        raise InvalidArgument.of(role, error.violations[0].description) from None
    if len(sources) != 1:
        raise InvalidArgument.of(role, f"is {len(sources)} tables; give one")
    return sources[0]
