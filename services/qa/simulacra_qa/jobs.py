"""Evaluations that clients start: each is a durable job, whose last step makes the report."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from simulacra.artifacts import Artifact, ArtifactStore
from simulacra.domain import (
    ColumnScore,
    DataLocation,
    EvaluationContext,
    EvaluationReference,
    Job,
    JobKind,
    ModelMetrics,
    PairScore,
    ProgressStatus,
    ReportFormat,
    StepCode,
)
from simulacra.domain.text import did_you_mean
from simulacra.errors import ArtifactNotFound, InvalidArgument, JobNotFound, WrongState
from simulacra.jobs import JobPlan, JobStore, StepPlan
from simulacra.rpc import Principal
from simulacra.rpc.downloads import DownloadFile
from simulacra.store import Database, body_hash, idempotent, remember
from simulacra_qa.evaluation import DETECT, Options
from simulacra_qa.peers import ConnectorPeer
from simulacra_qa.shares import read_pairs
from simulacra_qa.tasks import METRICS_FILE, PAIRS_FILE, REPORT_FILE, read_json

__all__ = ["ALL_ROLES", "ROLES", "EvaluationJobs", "EvaluationOrder", "report_artifact"]

ROLES = ("training", "holdout", "synthetic")
"""What the data of an evaluation are, and the keys of the steps that read them."""
ALL_ROLES = (*ROLES, *(f"context_{role}" for role in ROLES))
"""With those of the context."""

_METHOD = "Evaluate"
_REPORT_KEY = "report"
_FILES = {ReportFormat.HTML: REPORT_FILE, ReportFormat.JSON: METRICS_FILE}
_LONGEST_TITLE = 256


@dataclass(frozen=True, slots=True)
class EvaluationOrder:
    """What a client wants judged, and how; the fields are those of the contract's EvaluateRequest."""

    synthetic: DataLocation | None
    training: DataLocation | None
    holdout: DataLocation | None = None
    title: str | None = None
    seed: int = 0
    reference: EvaluationReference = EvaluationReference.TRAINING
    key: str | None = None
    context: EvaluationContext | None = None
    target: str | None = None
    embed: bool = True

    def to_json(self) -> dict[str, Any]:
        """Returns the order as JSON values."""
        places = {role: place.model_dump(mode="json") for role, place in self.places.items()}
        return {**places, "title": self.title, **self.how}

    @property
    def how(self) -> dict[str, Any]:
        """How to compare, as JSON values."""
        return {
            "seed": self.seed,
            "reference": self.reference.value,
            "key": self.key or "",
            "context_key": self.context.key_column if self.context else "",
            "target": self.target or "",
            "embed": self.embed,
        }

    @property
    def places(self) -> dict[str, DataLocation]:
        """The data by role, of those that are given."""
        given = {role: getattr(self, role) for role in ROLES}
        given |= {f"context_{role}": getattr(self.context, role, None) for role in ROLES}
        return {role: place for role, place in given.items() if place is not None}


@dataclass(frozen=True, slots=True)
class _Stored:
    """A finished evaluation's report artifact, and the name that people see."""

    artifact: Artifact
    name: str
    document: dict[str, Any] = field(default_factory=dict)


class EvaluationJobs:
    """Starts evaluations and hands out what came of them.

    Args:
        database: This service's.
        jobs: Its jobs.
        artifacts: Where reports are.
        connectors: Where data come from.
        new_id: Gives ids.
    """

    def __init__(
        self,
        database: Database,
        jobs: JobStore,
        artifacts: ArtifactStore,
        connectors: ConnectorPeer,
        *,
        new_id: Callable[[], str],
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._artifacts = artifacts
        self._connectors = connectors
        self._new_id = new_id

    async def start(self, viewer: Principal, order: EvaluationOrder, *, request_id: str | None) -> Job:
        """Starts an evaluation; returns its job.

        Raises:
            InvalidArgument: A location is missing, a table has none of the training table's columns, ...
            ResourceNotFound: There is no such connector that the viewer may see.
            LocationNotFound: There is no such table at the connector.
        """
        digest = body_hash(order.to_json())
        if request_id:
            async with self._database.begin() as tx:
                earlier = await idempotent(tx, viewer.user_id, _METHOD, request_id, digest)
                if earlier is not None:
                    return (await self._jobs.load(tx.connection, earlier)).to_domain()
        plan = await self._plan(viewer, order)
        async with self._database.begin() as tx:
            # Somebody may have sent the same request meanwhile; this transaction has its turn now.
            earlier = await idempotent(tx, viewer.user_id, _METHOD, request_id, digest)
            if earlier is not None:
                return (await self._jobs.load(tx.connection, earlier)).to_domain()
            job = await self._jobs.submit(tx, plan)
            await remember(tx, viewer.user_id, _METHOD, request_id, digest, response=job.id)
        return job

    async def metrics(
        self, viewer: Principal, job_id: str
    ) -> AsyncIterator[ModelMetrics | ColumnScore | PairScore]:
        """Yields the metrics, then the score of every column and of every pair.

        Raises:
            JobNotFound: There is no such evaluation that the viewer may see.
            WrongState: It is not DONE.
        """
        stored = await self._stored(viewer, job_id)
        document = await asyncio.to_thread(read_json, stored.artifact, METRICS_FILE)
        yield ModelMetrics.model_validate(document["metrics"])
        for column in document["columns"]:
            yield ColumnScore.model_validate(column)
        pairs: Iterator[PairScore] = read_pairs(
            await asyncio.to_thread(stored.artifact.read_bytes, PAIRS_FILE)
        )
        while (pair := await asyncio.to_thread(next, pairs, None)) is not None:
            yield pair

    async def report(self, viewer: Principal, job_id: str, form: ReportFormat) -> DownloadFile:
        """Returns the report as a file.

        Raises:
            JobNotFound: There is no such evaluation that the viewer may see.
            WrongState: It is not DONE.
        """
        stored = await self._stored(viewer, job_id)
        file = _FILES[form]
        entry = stored.artifact.manifest.files[file]
        ending = file.rpartition(".")[2]
        shown = f"{_safe(stored.name)}.{ending}"
        return DownloadFile(shown, entry.size, entry.sha256, lambda: stored.artifact.open_file(file))

    async def delete(self, viewer: Principal, job_id: str) -> None:
        """Deletes an ended evaluation: its job, its metrics and its report.

        Raises:
            JobNotFound: There is no such evaluation that the viewer may see.
            WrongState: It has not ended.
        """
        job = await self._evaluation(viewer, job_id)
        async with self._database.begin() as tx:
            await self._jobs.delete_for(tx, job.resource_uri)
        await asyncio.to_thread(self._artifacts.delete, f"evaluation/{job_id}")

    async def _evaluation(self, viewer: Principal, job_id: str) -> Job:
        if not job_id:
            raise InvalidArgument.of("job_id", "is required")
        job = await self._jobs.get(job_id, viewer=viewer)
        if job.kind != JobKind.EVALUATION:
            raise JobNotFound(f"job {job_id!r} is no evaluation", id=job_id)
        return job

    async def _stored(self, viewer: Principal, job_id: str) -> _Stored:
        job = await self._evaluation(viewer, job_id)
        status = job.status
        if status != ProgressStatus.DONE:
            hint = "wait for it with WatchJobs" if status.is_active else "start another evaluation"
            raise WrongState(
                f'the evaluation "{job.resource_name}" is {status} and has no report; {hint}',
                current_status=status.value,
                job_id=job_id,
            )
        name = report_artifact(await self._jobs.outputs(job_id))
        try:
            artifact = await asyncio.to_thread(self._artifacts.open, name)
        except ArtifactNotFound as error:
            raise ArtifactNotFound(
                f'the report of the evaluation "{job.resource_name}" is no longer kept; start it again'
            ) from error
        return _Stored(artifact, job.resource_name or "evaluation")

    async def _plan(self, viewer: Principal, order: EvaluationOrder) -> JobPlan:
        for role in ("synthetic", "training"):
            if getattr(order, role) is None:
                raise InvalidArgument.of(role, "is required")
        if order.title and len(order.title) > _LONGEST_TITLE:
            raise InvalidArgument.of("title", f"has {len(order.title)} characters; at most {_LONGEST_TITLE}")
        if order.context is not None and order.key is None:
            raise InvalidArgument.of(
                "key_column", "is required with a context: name the column that refers to it"
            )
        if order.context is not None and (order.context.holdout is None) != (order.holdout is None):
            raise InvalidArgument.of("context.holdout", "a holdout and its context go together")
        names = await self._checked(order)
        title = order.title or f"Quality of {names['synthetic']}"
        # A sample of rows would tear subjects apart; of those, whole ones are drawn later.
        most = None if order.key else Options().max_rows
        pulls = [
            StepPlan(
                role,
                StepCode.PULL_TRAINING_DATA,
                payload={**place.model_dump(), "seed": order.seed, "max_rows": most},
            )
            for role, place in order.places.items()
        ]
        compare = StepPlan(
            _REPORT_KEY,
            StepCode.CREATE_DATA_REPORT,
            payload={
                "title": title,
                "table_name": names["synthetic"],
                "context_name": names.get("context_synthetic", ""),
                **order.how,
            },
            after=list(order.places),
        )
        return JobPlan(
            kind=JobKind.EVALUATION,
            resource_uri=f"evaluations/{self._new_id()}",
            resource_name=title,
            owner=viewer,
            steps=[*pulls, compare],
        )

    async def _checked(self, order: EvaluationOrder) -> dict[str, str]:
        """Checks that the tables can be compared; returns the name of each."""
        roles = list(order.places)
        found = await asyncio.gather(*(self._described(role, order.places[role]) for role in roles))
        described = dict(zip(roles, found, strict=True))
        for role, (_, columns) in described.items():
            like = "context_training" if role.startswith("context_") else "training"
            for missing in (name for name in described[like][1] if name not in columns):
                hint = did_you_mean(missing, columns)
                field = role.replace("_", ".")
                raise InvalidArgument.of(
                    field, f'the table lacks the column "{missing}" of the training table{hint}'
                )
        own, around = described["training"][1], described.get("context_training", ("", []))[1]
        named = [("key_column", order.key, own), ("target_column", order.target, own)]
        if order.context is not None:
            named.append(("context.key_column", order.context.key_column, around))
        for field, name, columns in named:
            if name and name not in columns and (field, name) != ("target_column", DETECT):
                hint = did_you_mean(name, columns)
                raise InvalidArgument.of(field, f'column "{name}" is not in the training table{hint}')
        return {role: name for role, (name, _) in described.items()}

    async def _described(self, role: str, place: DataLocation) -> tuple[str, list[str]]:
        if not place.connector_id:
            raise InvalidArgument.of(f"{role.replace('_', '.')}.connector_id", "is required")
        connector = await self._connectors.get(place.connector_id)
        schema = await self._connectors.schema(place.connector_id, place.location)
        name = place.location.rpartition("/")[2] or connector.name or role
        return name, [column.name for column in schema.columns or ()]


def report_artifact(outputs: dict[str, dict[str, Any]]) -> str:
    """Returns the name of the report artifact from the outputs of an evaluation's steps; empty without."""
    return str(outputs.get(_REPORT_KEY, {}).get("report", ""))


def _safe(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in " _.-" else "_" for c in name).strip(" .")
    return kept[:100] or "report"
