"""Starting, stopping and following the training of generators."""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from simulacra.artifacts import ArtifactStore
from simulacra.domain import (
    Generator,
    Job,
    JobEstimate,
    JobKind,
    JobProgress,
    ModelConfiguration,
    ModelType,
    ProgressStatus,
    SourceTable,
    StepCode,
)
from simulacra.domain.base import Violation
from simulacra.errors import JobNotFound, WrongState
from simulacra.jobs import JobPlan, JobStore, StepPlan
from simulacra.jobs.computes import Computes
from simulacra.rpc import Principal
from simulacra.store import Database, Transaction, body_hash, idempotent, remember
from simulacra_trainer.configuration import not_yet_trainable, plan_hash, refuse
from simulacra_trainer.documents import generator_of
from simulacra_trainer.models import training_prefix
from simulacra_trainer.pulling import pull_payloads
from simulacra_trainer.service import uri_of
from simulacra_trainer.spec import TableSpec
from simulacra_trainer.state import TrainingState
from simulacra_trainer.store import GeneratorRows

__all__ = ["TrainingObserver", "TrainingService", "step_key"]

_STEPS = (
    StepCode.PULL_TRAINING_DATA,
    StepCode.ANALYZE_TRAINING_DATA,
    StepCode.ENCODE_TRAINING_DATA,
    StepCode.TRAIN_MODEL,
    StepCode.GENERATE_MODEL_REPORT_DATA,
    StepCode.CREATE_MODEL_REPORT,
)
_BESIDES_TRAINING_SECONDS = 120.0


def step_key(index: int, code: StepCode) -> str:
    """Returns the key of a step of the table at a position."""
    return f"{index}.{code.value}"


class TrainingService:
    """Trainings, as jobs.

    Args:
        database: The trainer's.
        rows: The generators.
        jobs: The jobs.
        artifacts: The platform's.
        computes: Where models can be trained.
        discard: Told of a folder of artifacts that is not needed any more.
    """

    def __init__(
        self,
        database: Database,
        rows: GeneratorRows,
        jobs: JobStore,
        artifacts: ArtifactStore,
        computes: Computes,
        *,
        discard: Callable[[str], object],
    ) -> None:
        self._database = database
        self._rows = rows
        self._jobs = jobs
        self._artifacts = artifacts
        self._computes = computes
        self._discard = discard

    async def start(
        self, viewer: Principal, id: str, *, request_id: str | None, validate_only: bool = False
    ) -> Job:
        """Starts the training, or goes on with one that FAILED or was CANCELED; returns its job.

        Raises:
            WrongState: It is being trained, or has been.
            InvalidArgument: The generator cannot be trained as it is configured.
        """
        digest = body_hash({"id": id})
        reusable = await self._reusable_job(viewer, id)
        async with self._database.begin() as tx:
            if not validate_only:
                earlier = await idempotent(tx, viewer.user_id, "StartTraining", request_id, digest)
                if earlier is not None:
                    return (await self._jobs.load(tx.connection, earlier)).to_domain()
            row = await self._rows.get_for_change(tx, viewer, id)
            generator = generator_of(row, viewer, {})
            state = TrainingState.model_validate(row["state"])
            self._check(generator)
            if validate_only:
                return self._estimate(viewer, generator)
            if reusable is not None and reusable == state.job_id and state.planned == plan_hash(generator):
                job = await self._jobs.restart(tx, reusable, owner=viewer)
            else:
                job = await self._submit(tx, viewer, generator, state)
            await remember(tx, viewer.user_id, "StartTraining", request_id, digest, response=job.id)
        return job

    async def cancel(self, viewer: Principal, id: str) -> Job:
        """Cancels the training; raises WrongState if none is running."""
        async with self._database.begin() as tx:
            row = await self._rows.get_for_change(tx, viewer, id)
            status, job_id = row["training_status"], row["state"].get("job_id")
            if job_id is None or not ProgressStatus(status).is_active:
                raise WrongState(
                    f'generator "{row["name"]}" is {status}, so there is no training to cancel',
                    current_status=status,
                )
            return await self._jobs.cancel_in(tx, job_id)

    async def progress(self, viewer: Principal, id: str) -> JobProgress:
        """Reads the progress of the newest training."""
        async with self._database.read() as connection:
            row = await self._rows.get(connection, viewer, id)
            job_id = row["state"].get("job_id")
            if job_id is None:
                raise JobNotFound(
                    f'generator "{row["name"]}" has not been trained here; start its training first'
                )
            return (await self._jobs.load(connection, job_id)).to_domain().progress

    def _check(self, generator: Generator) -> None:
        status = generator.training_status
        if status.is_active or status == ProgressStatus.DONE:
            what = "is being trained" if status.is_active else "is trained; clone it to train it again"
            raise WrongState(f'generator "{generator.name}" {what}', current_status=status.value)
        refuse(self._problems(generator))

    def _problems(self, generator: Generator) -> Iterator[Violation]:
        yield from not_yet_trainable(generator)
        if not generator.tables:
            yield "tables", f'generator "{generator.name}" has no tables; add one first'
        for index, table in enumerate(generator.tables or ()):
            path = f"tables.{index}"
            if table.source_connector is None:
                yield (
                    f"{path}.source_connector",
                    f'table "{table.name}" came with an imported generator and has no source to train from',
                )
            if not TableSpec.of(table, seed=0, initial_bundle=None).learnt:
                yield f"{path}.columns", f'table "{table.name}" has no included column that is not a key'
            configuration = table.model_configuration
            problem = self._computes.problem(configuration.compute if configuration else None)
            if problem is not None:
                yield f"{path}.model_configuration.compute", problem

    async def _reusable_job(self, viewer: Principal, id: str) -> str | None:
        """Returns the newest job of a generator, if all that its finished steps made is still there."""
        async with self._database.read() as connection:
            row = await self._rows.get(connection, viewer, id)
        job_id = row["state"].get("job_id")
        if job_id is None or row["training_status"] not in (ProgressStatus.FAILED, ProgressStatus.CANCELED):
            return None
        outputs = await self._jobs.outputs(job_id)
        names = [name for output in outputs.values() for name in output.get("artifacts", ())]
        there = await asyncio.to_thread(lambda: all(self._artifacts.exists(name) for name in names))
        return str(job_id) if there else None

    async def _submit(
        self, tx: Transaction, viewer: Principal, generator: Generator, state: TrainingState
    ) -> Job:
        seed = generator.seed if generator.seed is not None else secrets.randbelow(2**31)
        initial = {model.table_id: model.bundle for model in state.initial_models or ()}
        plan = JobPlan(
            kind=JobKind.TRAINING,
            resource_uri=uri_of(generator.id),
            resource_name=generator.name or "",
            owner=viewer,
            steps=self._steps(generator.tables or [], seed, initial),
        )
        job = await self._jobs.submit(tx, plan)
        if state.job_id is not None:
            outdated = state.job_id
            tx.after_commit(lambda: self._discard(training_prefix(outdated)))
        changes = {"job_id": job.id, "planned": plan_hash(generator), "seed": seed}
        await self._rows.update(tx, generator.id, state=state.updated(changes).model_dump(mode="json"))
        return job

    def _steps(self, tables: Sequence[SourceTable], seed: int, initial: dict[str, str]) -> list[StepPlan]:
        steps: list[StepPlan] = []
        specs = [TableSpec.of(table, seed=seed, initial_bundle=initial.get(table.id)) for table in tables]
        pulls = pull_payloads(tables, specs)
        for index, (table, spec) in enumerate(zip(tables, specs, strict=True)):
            configuration = table.model_configuration or ModelConfiguration()
            payload: dict[str, Any] = {"index": index, "table": spec.to_json()}
            pull = pulls.get(index, {})
            first = [step_key(pull["leader"], _STEPS[0])] if "leader" in pull else []
            for position, code in enumerate(_STEPS):
                steps.append(
                    StepPlan(
                        key=step_key(index, code),
                        code=code,
                        payload=payload if position else payload | pull,
                        after=[step_key(index, _STEPS[position - 1])] if position else first,
                        model_label=f"{table.name}:{ModelType.TABULAR.value}",
                        resources=self._computes.resources(configuration.compute, beside=len(tables)),
                    )
                )
        last = [step_key(index, _STEPS[-1]) for index in range(len(tables))]
        payload = {"tables": [{"id": table.id, "name": table.name} for table in tables], "seed": seed}
        steps.append(StepPlan("finalize", StepCode.FINALIZE_TRAINING, payload=payload, after=last))
        return steps

    def _estimate(self, viewer: Principal, generator: Generator) -> Job:
        tables = generator.tables or []
        minutes = max(
            (table.model_configuration or ModelConfiguration()).max_training_time or 0 for table in tables
        )
        rounds = self._computes.rounds(len(tables))
        return Job(
            progress=JobProgress(status=ProgressStatus.NEW),
            kind=JobKind.TRAINING,
            resource_uri=uri_of(generator.id),
            resource_name=generator.name or "",
            owner_id=viewer.user_id,
            estimate=JobEstimate(
                max_seconds=rounds * (minutes * 60 + _BESIDES_TRAINING_SECONDS), credits=0.0
            ),
        )


class TrainingObserver:
    """Keeps a generator's status that of its newest training, in the same transaction."""

    def __init__(self, rows: GeneratorRows) -> None:
        self._rows = rows

    async def job_changed(self, tx: Transaction, job: Job) -> None:
        """Takes over the status of a job."""
        id = job.resource_uri.rpartition("/")[2]
        await self._rows.update(tx, id, training_status=job.status.value)
