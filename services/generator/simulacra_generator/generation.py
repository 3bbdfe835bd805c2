"""Starting, stopping and following the generation of synthetic datasets."""

import secrets

from simulacra.domain import (
    Job,
    JobEstimate,
    JobKind,
    JobProgress,
    ModelType,
    ProgressStatus,
    StepCode,
    SyntheticDataset,
    SyntheticTableConfiguration,
    synthetic_dataset_config,
)
from simulacra.errors import JobNotFound, WrongState
from simulacra.jobs import JobPlan, JobStore, StepPlan
from simulacra.jobs.computes import Computes
from simulacra.rpc import Principal
from simulacra.store import Database, Transaction, body_hash, idempotent, remember
from simulacra_generator.controls import checked_controls, require_rows
from simulacra_generator.delivery import check_delivery, check_destination
from simulacra_generator.documents import dataset_of
from simulacra_generator.peers import ConnectorPeer, TrainerPeer
from simulacra_generator.preflight import Preflight
from simulacra_generator.service import trained_generator, uri_of
from simulacra_generator.spec import TableControls
from simulacra_generator.state import DatasetState
from simulacra_generator.store import DatasetRows

__all__ = ["GenerationObserver", "GenerationService", "step_key"]

_METHOD = "StartGeneration"
_ROWS_PER_SECOND = 2_000
"""What even a slow machine samples; for estimates."""


def step_key(index: int, code: StepCode) -> str:
    """Returns the key of a step of the table at a position."""
    return f"{index}.{code.value}"


class GenerationService:
    """Generations, as jobs.

    Args:
        database: This service's.
        rows: The datasets.
        jobs: The jobs.
        trainer: Where generators are.
        connectors: Where data are delivered to.
        computes: Where models can run.
        preflight: Tries on the models what is asked for.
        max_rows: Most rows of a table.
    """

    def __init__(
        self,
        database: Database,
        rows: DatasetRows,
        jobs: JobStore,
        trainer: TrainerPeer,
        connectors: ConnectorPeer,
        computes: Computes,
        preflight: Preflight,
        *,
        max_rows: int,
    ) -> None:
        self._database = database
        self._rows = rows
        self._jobs = jobs
        self._trainer = trainer
        self._connectors = connectors
        self._computes = computes
        self._preflight = preflight
        self._max_rows = max_rows

    async def start(
        self, viewer: Principal, id: str, *, request_id: str | None, validate_only: bool = False
    ) -> Job:
        """Starts the generation, or goes on with one that FAILED or was CANCELED; returns its job.

        Raises:
            WrongState: It is running, or DONE.
            InvalidArgument: The dataset cannot be generated or delivered as it is configured; seed values
                that a model does not know are named.
            AlreadyExists: A table is at the destination and may neither be replaced nor added to.
        """
        digest = body_hash({"id": id})
        async with self._database.read() as connection:
            row = await self._rows.get(connection, viewer, id)
        dataset = dataset_of(row, viewer, {})
        seed = _seed(dataset, DatasetState.model_validate(row["state"]))
        controls = await self._controls(dataset, seed)
        if row["state"].get("job_id") is None:
            await check_delivery(self._connectors, dataset)
        else:  # tables that are there may be its own
            await check_destination(self._connectors, dataset.delivery)
        if validate_only:
            self._check(dataset)
            return self._estimate(viewer, dataset, controls)
        async with self._database.begin() as tx:
            earlier = await idempotent(tx, viewer.user_id, _METHOD, request_id, digest)
            if earlier is not None:
                return (await self._jobs.load(tx.connection, earlier)).to_domain()
            row = await self._rows.get_for_change(tx, viewer, id)
            dataset, state = dataset_of(row, viewer, {}), DatasetState.model_validate(row["state"])
            self._check(dataset)
            if state.job_id is not None and await self._fits(tx, state.job_id, dataset):
                job = await self._jobs.restart(tx, state.job_id, owner=viewer)
            else:
                job = await self._jobs.submit(tx, self._plan(viewer, dataset, controls, seed))
                changes = {"job_id": job.id, "seed": seed}
                await self._rows.update(tx, id, state=state.updated(changes).model_dump(mode="json"))
            await remember(tx, viewer.user_id, _METHOD, request_id, digest, response=job.id)
        return job

    async def cancel(self, viewer: Principal, id: str) -> Job:
        """Cancels the generation; raises WrongState if none is running."""
        async with self._database.begin() as tx:
            row = await self._rows.get_for_change(tx, viewer, id)
            status, job_id = row["generation_status"], row["state"].get("job_id")
            if job_id is None or not ProgressStatus(status).is_active:
                raise WrongState(
                    f'synthetic dataset "{row["name"]}" is {status}, so there is no generation to cancel',
                    current_status=status,
                )
            return await self._jobs.cancel_in(tx, job_id)

    async def progress(self, viewer: Principal, id: str) -> JobProgress:
        """Reads the progress of the newest generation."""
        async with self._database.read() as connection:
            row = await self._rows.get(connection, viewer, id)
            job_id = row["state"].get("job_id")
            if job_id is None:
                raise JobNotFound(f'synthetic dataset "{row["name"]}" has not been generated; start it first')
            return (await self._jobs.load(connection, job_id)).to_domain().progress

    def _check(self, dataset: SyntheticDataset) -> None:
        status = dataset.generation_status
        if status.is_active or status == ProgressStatus.DONE:
            what = (
                "is being generated" if status.is_active else "is generated; create another one for more rows"
            )
            raise WrongState(f'synthetic dataset "{dataset.name}" {what}', current_status=status.value)

    async def _controls(self, dataset: SyntheticDataset, seed: int) -> list[TableControls]:
        config = synthetic_dataset_config(dataset)
        require_rows(config.tables, self._max_rows)
        trained = await trained_generator(self._trainer, config.generator_id)
        controls = checked_controls(trained, config.tables, seed=seed, computes=self._computes, probe=False)
        await self._preflight.check(controls, config.tables)
        return controls

    async def _fits(self, tx: Transaction, job_id: str, dataset: SyntheticDataset) -> bool:
        """Tells whether a job has the step that a delivery needs, which may be newer than the job."""
        if dataset.delivery is None:
            return True
        steps = (await self._jobs.load(tx.connection, job_id)).to_domain().progress.steps or ()
        return any(step.step_code is StepCode.DELIVER_DATA for step in steps)

    def _plan(
        self, viewer: Principal, dataset: SyntheticDataset, controls: list[TableControls], seed: int
    ) -> JobPlan:
        tables = dataset.tables or []
        seeded = [index for index, each in enumerate(controls) if each.seed_connector is not None]
        steps = [
            StepPlan(
                step_key(index, StepCode.PULL_CONTEXT_DATA),
                StepCode.PULL_CONTEXT_DATA,
                payload={
                    "connector_id": controls[index].seed_connector,
                    "controls": controls[index].to_json(),
                },
                model_label=_label(controls[index]),
            )
            for index in seeded
        ]
        pulls = [step.key for step in steps]
        pulled = {controls[index].name: step_key(index, StepCode.PULL_CONTEXT_DATA) for index in seeded}
        for index, table in enumerate(tables):
            configuration = table.configuration or SyntheticTableConfiguration()
            steps.append(
                StepPlan(
                    step_key(index, StepCode.GENERATE_DATA),
                    StepCode.GENERATE_DATA,
                    payload={"table_id": table.id, "controls": controls[index].to_json(), "pulled": pulled},
                    after=pulls,
                    model_label=_label(controls[index]),
                    resources=self._computes.resources(configuration.tabular_compute, beside=len(tables)),
                    max=max(controls[index].rows or 1, 1),
                )
            )
            generated = step_key(index, StepCode.GENERATE_DATA)
            steps.append(
                StepPlan(
                    step_key(index, StepCode.CREATE_DATA_REPORT),
                    StepCode.CREATE_DATA_REPORT,
                    payload={
                        "table_id": table.id,
                        "generator_id": dataset.generator.id if dataset.generator else "",
                        "controls": controls[index].to_json(),
                        "generated": generated,
                    },
                    after=[generated],
                    model_label=_label(controls[index]),
                )
            )
        reports = [step_key(index, StepCode.CREATE_DATA_REPORT) for index in range(len(tables))]
        payload = {"tables": [each.name for each in controls], "seed": seed}
        steps.append(StepPlan("finalize", StepCode.FINALIZE_GENERATION, payload=payload, after=reports))
        if dataset.delivery is not None:
            steps.append(StepPlan("deliver", StepCode.DELIVER_DATA, after=["finalize"]))
        return JobPlan(
            kind=JobKind.GENERATION,
            resource_uri=uri_of(dataset.id),
            resource_name=dataset.name,
            owner=viewer,
            steps=steps,
        )

    def _estimate(self, viewer: Principal, dataset: SyntheticDataset, controls: list[TableControls]) -> Job:
        rows = sum(each.rows or 0 for each in controls)
        return Job(
            progress=JobProgress(status=ProgressStatus.NEW),
            kind=JobKind.GENERATION,
            resource_uri=uri_of(dataset.id),
            resource_name=dataset.name,
            owner_id=viewer.user_id,
            estimate=JobEstimate(max_seconds=10.0 + rows / _ROWS_PER_SECOND, credits=0.0),
        )


class GenerationObserver:
    """Keeps a dataset's status that of its newest generation, in the same transaction."""

    def __init__(self, rows: DatasetRows) -> None:
        self._rows = rows

    async def job_changed(self, tx: Transaction, job: Job) -> None:
        """Takes over the status of a job."""
        id = job.resource_uri.rpartition("/")[2]
        await self._rows.update(tx, id, generation_status=job.status.value)


def _label(controls: TableControls) -> str:
    return f"{controls.name}:{ModelType.TABULAR.value}"


def _seed(dataset: SyntheticDataset, state: DatasetState) -> int:
    for seed in (dataset.seed, state.seed):
        if seed is not None:
            return seed
    return secrets.randbelow(2**31)
