"""The steps of a generation job, on the driver's side: each starts the work, and records what came of it."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from simulacra.artifacts import ArtifactStore
from simulacra.domain import (
    Job,
    JobKind,
    ModelMetrics,
    ModelType,
    Provenance,
    ProvenanceBundle,
    StepCode,
    SyntheticDataset,
    SyntheticDatasetUsage,
    synthetic_dataset_config,
)
from simulacra.errors import InvalidArgument
from simulacra.jobs import Handler, JobStore, StepContext, StepResult
from simulacra.rpc import Principal, acting_as
from simulacra.store import Database, Transaction, body_hash
from simulacra.store.database import utc_now
from simulacra_generator.delivery import DeliveryStep
from simulacra_generator.documents import dataset_of, document_of
from simulacra_generator.generation import step_key
from simulacra_generator.peers import ConnectorPeer, QaPeer, TrainerPeer
from simulacra_generator.reporting import ReportStep
from simulacra_generator.seeds import seed_rows
from simulacra_generator.service import dataset_prefix
from simulacra_generator.settings import GeneratorSettings
from simulacra_generator.spec import TableControls
from simulacra_generator.state import DatasetState, GeneratedTable
from simulacra_generator.store import DatasetRows

__all__ = ["GenerationSteps"]

_TASKS = "simulacra_generator.tasks"
_SERVICE = Principal.of_service("generator")
_BLOCK_ROWS = 4096
# A smaller shard is not worth starting a worker for; a larger one would show no progress for too long.
_LEAST_BLOCKS, _MOST_BLOCKS = 16, 64


class GenerationSteps:
    """The handlers of a generation's steps.

    Args:
        settings: The service's.
        database: The service's.
        rows: The datasets.
        jobs: The jobs.
        trainer: Counts what is generated.
        connectors: Where seeds come from, and deliveries go to.
        qa: Who judges what was generated.
    """

    def __init__(
        self,
        settings: GeneratorSettings,
        database: Database,
        rows: DatasetRows,
        jobs: JobStore,
        trainer: TrainerPeer,
        connectors: ConnectorPeer,
        qa: QaPeer,
    ) -> None:
        self._shards = settings.shards or settings.slots
        self._max_rows = settings.table_rows
        self._database = database
        self._rows = rows
        self._jobs = jobs
        self._trainer = trainer
        self._connectors = connectors
        self._delivery = DeliveryStep(database, rows, trainer, connectors)
        self._report = ReportStep(trainer, qa)

    def handlers(self) -> Mapping[StepCode | tuple[JobKind, StepCode], Handler]:
        """Returns a handler for each step of a generation; each acts as the job's owner."""
        handlers: dict[StepCode, Handler] = {
            StepCode.PULL_CONTEXT_DATA: self.pull,
            StepCode.GENERATE_DATA: self.generate,
            StepCode.CREATE_DATA_REPORT: self._report.run,
            StepCode.FINALIZE_GENERATION: self.finalize,
            StepCode.DELIVER_DATA: self._delivery.run,
        }
        return {code: partial(_as_owner, handler) for code, handler in handlers.items()}

    async def pull(self, ctx: StepContext) -> StepResult:
        """Has the connector service read seed rows into an artifact, and tries them on the model.

        Nothing is generated before that, so wrong seeds of one table do not waste the work on another.
        """
        artifact = ctx.artifact_name("seeds")
        rows = await self._connectors.pull(ctx.payload["connector_id"], artifact)
        await ctx.log(f"read {rows} seed rows")
        if "controls" in ctx.payload:  # steps of an earlier version had none
            controls = TableControls(**ctx.payload["controls"])
            if not rows:
                raise InvalidArgument.of(controls.seed_field, "has no rows")
            tried = replace(controls, seeds=artifact, rows=controls.rows or rows)
            await ctx.execute(f"{_TASKS}:check", {"tables": [tried.to_json()]}, report_value=False)
        return StepResult({"seeds": artifact, "rows": rows})

    async def generate(self, ctx: StepContext) -> StepResult:
        """Samples a table in shards, a few at a time side by side, then joins them."""
        controls = await self._resolved(ctx)
        rows = controls.rows or 0
        if rows > self._max_rows:  # seed rows of a connector are counted only now
            raise InvalidArgument(
                f'{rows:,} rows of table "{controls.name}" are too many, at most {self._max_rows:,}'
            )
        # Whoever is free takes the next one, so nothing here grows with the rows but the list of names.
        ranges = enumerate(shard_ranges(rows, self._shards))
        names: list[str] = []
        done = 0

        async def work() -> None:
            nonlocal done
            for number, (first, last) in ranges:
                names.append(ctx.artifact_name(f"shard-{number:05d}"))
                payload = {"controls": controls.to_json(), "first": first, "last": last, "output": names[-1]}
                result = await ctx.execute(
                    f"{_TASKS}:generate",
                    payload,
                    resources=replace(ctx.resources, cpus=1),
                    report_value=False,
                )
                done += result["rows"]
                await ctx.report(value=done, max=rows)

        await _all_or_none([work() for _ in range(self._shards)])
        output = f"{dataset_prefix(ctx.resource_id)}/{ctx.job_id}/{ctx.payload['table_id']}-{ctx.attempt}"
        payload = {"shards": names, "output": output}
        result = await ctx.execute(f"{_TASKS}:join", payload, report_value=False)
        await ctx.log(f'generated {rows} rows of table "{controls.name}"')
        seeded = await asyncio.to_thread(_columns_of, ctx.artifacts, controls.seeds)
        return StepResult(
            {"artifact": output, "rows": result["rows"], "columns": result["columns"], "seeded": seeded}
        )

    async def finalize(self, ctx: StepContext) -> StepResult:
        """Publishes the dataset and counts what was generated."""
        outputs = [
            ctx.outputs[step_key(index, StepCode.GENERATE_DATA)]
            for index in range(len(ctx.payload["tables"]))
        ]
        reports = [
            ctx.outputs.get(step_key(index, StepCode.CREATE_DATA_REPORT), {}) for index in range(len(outputs))
        ]
        state_tables = [
            GeneratedTable(
                name=name, artifact=output["artifact"], rows=output["rows"], report=report.get("report")
            )
            for name, output, report in zip(ctx.payload["tables"], outputs, reports, strict=True)
        ]
        async with self._database.read() as connection:
            row = await self._rows.get(connection, _SERVICE, ctx.resource_id)
        dataset = dataset_of(row, _SERVICE, {})
        datapoints = sum(output["rows"] * output["columns"] for output in outputs)
        trained = await self._trainer.trained(row["generator_id"])
        await self._trainer.record_usage(row["generator_id"], ctx.job_id, datapoints)
        bundles = {name: sha256 for name, (_, sha256) in trained.bundles.items()}
        changes = {
            "tables": _described(dataset, outputs, reports),
            "usage": SyntheticDatasetUsage(
                total_datapoints=datapoints,
                total_compute_time=_compute_seconds(await self._jobs.get(ctx.job_id)),
            ),
            "generation_time": utc_now(),
            "provenance": _provenance(dataset, bundles, trained.generator.provenance, ctx.payload["seed"]),
        }

        async def commit(tx: Transaction) -> None:
            now = await self._rows.get(tx.connection, _SERVICE, ctx.resource_id)
            generated = dataset_of(now, _SERVICE, {}).updated(changes)
            state = DatasetState.model_validate(now["state"]).updated({"tables": state_tables})
            await self._rows.update(
                tx, ctx.resource_id, document=document_of(generated), state=state.model_dump(mode="json")
            )

        needed = {table.artifact for table in state_tables} | {table.report or "" for table in state_tables}
        await asyncio.to_thread(_keep_only, ctx, needed)
        return StepResult({"datapoints": datapoints}, commit=commit)

    async def _resolved(self, ctx: StepContext) -> TableControls:
        """Returns how the table is sampled, now that seeds have been read."""
        controls = TableControls(**ctx.payload["controls"])
        pulled = {name: ctx.outputs[key] for name, key in ctx.payload["pulled"].items()}
        referenced = {
            name: rows or pulled.get(name, {}).get("rows", 0) for name, rows in controls.referenced.items()
        }
        controls = replace(controls, referenced=referenced)
        if controls.name in pulled:
            own = pulled[controls.name]
            return replace(controls, seeds=own["seeds"], rows=controls.rows or own["rows"])
        async with self._database.read() as connection:
            row = await self._rows.get(connection, _SERVICE, ctx.resource_id)
        tables = dataset_of(row, _SERVICE, {}).tables or ()
        configuration = next(table.configuration for table in tables if table.name == controls.name)
        seeds = seed_rows(configuration) if configuration is not None else None
        if seeds is None:
            return controls
        artifact = ctx.artifact_name("seeds")
        await asyncio.to_thread(ctx.artifacts.write_table, artifact, seeds)
        return replace(controls, seeds=artifact)


def shard_ranges(rows: int, shards: int) -> Iterator[tuple[int, int]]:
    """Splits the blocks of a table into ranges for tasks: neither many small ones nor few huge ones."""
    blocks = max(1, -(-rows // _BLOCK_ROWS))
    size = min(max(-(-blocks // shards), _LEAST_BLOCKS), _MOST_BLOCKS)
    return ((first, min(first + size, blocks)) for first in range(0, blocks, size))


async def _as_owner(handler: Handler, ctx: StepContext) -> StepResult:
    with acting_as(ctx.owner):
        return await handler(ctx)


async def _all_or_none(work: list[Any]) -> None:
    """Runs coroutines side by side; when one fails the others are stopped, and its error is raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _keep_only(ctx: StepContext, needed: set[str]) -> None:
    """Deletes what earlier attempts left, and the intermediate data."""
    artifacts: ArtifactStore = ctx.artifacts
    for name in artifacts.names(dataset_prefix(ctx.resource_id)):
        if name not in needed:
            artifacts.delete(name)
    artifacts.delete(f"generation/{ctx.job_id}")


def _columns_of(artifacts: ArtifactStore, name: str | None) -> list[str]:
    return list(artifacts.open(name).schema.names) if name else []


def _described(
    dataset: SyntheticDataset, outputs: list[Mapping[str, Any]], reports: list[Mapping[str, Any]]
) -> list[Any]:
    """Returns the tables with their sizes and metrics."""
    described = []
    for table, output, report in zip(dataset.tables or (), outputs, reports, strict=True):
        metrics = report.get("metrics")
        changes = {
            "total_rows": output["rows"],
            "total_datapoints": output["rows"] * output["columns"],
            "model_metrics": ModelMetrics.model_validate(metrics) if metrics else None,
        }
        described.append(table.updated(changes))
    return described


def _compute_seconds(job: Job) -> int:
    steps = job.progress.steps or ()
    return round(
        sum((s.end_date - s.start_date).total_seconds() for s in steps if s.start_date and s.end_date)
    )


def _provenance(
    dataset: SyntheticDataset, bundles: Mapping[str, str], trained: Provenance | None, seed: int
) -> Provenance:
    config = synthetic_dataset_config(dataset).model_dump(mode="json")
    versions = dict((trained.versions if trained else None) or {})
    return Provenance(
        sources=trained.sources if trained else None,
        configuration_sha256=body_hash(config),
        bundles=[
            ProvenanceBundle(table_name=name, model_type=ModelType.TABULAR, sha256=sha256)
            for name, sha256 in bundles.items()
        ],
        seed=seed,
        versions={**versions, "pyarrow": pa.__version__},
    )
