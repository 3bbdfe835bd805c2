"""The steps of a training job, on the driver's side: each starts the work, and records what came of it."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from simulacra.artifacts import ArtifactStore
from simulacra.domain import (
    Generator,
    GeneratorUsage,
    JobKind,
    ModelMetrics,
    ModelType,
    Provenance,
    ProvenanceBundle,
    ProvenanceSource,
    SourceColumnValueRange,
    StepCode,
    generator_config,
)
from simulacra.jobs import Handler, JobStore, StepContext, StepResult
from simulacra.rpc import Principal, acting_as
from simulacra.store import Transaction
from simulacra.store.database import utc_now
from simulacra.v1 import internal_pb2
from simulacra_trainer.documents import document_of, generator_of
from simulacra_trainer.models import copy_models, generator_prefix, initial_prefix, training_prefix
from simulacra_trainer.peers import ConnectorPeer, QaPeer
from simulacra_trainer.settings import TrainerSettings
from simulacra_trainer.state import TrainedModel, TrainingState
from simulacra_trainer.store import GeneratorRows
from simulacra_trainer.training import step_key

__all__ = ["TrainingSteps", "bundle_sha256"]

_TASKS = "simulacra_trainer.tasks"
_TRAINER = Principal.of_service("trainer")


class TrainingSteps:
    """The handlers of a training's steps.

    Args:
        settings: The trainer's.
        rows: The generators.
        jobs: The jobs.
        connectors: Where data come from.
        qa: Who judges the models.
        discard: Told of a folder of artifacts that is not needed any more.
    """

    def __init__(
        self,
        settings: TrainerSettings,
        rows: GeneratorRows,
        jobs: JobStore,
        connectors: ConnectorPeer,
        qa: QaPeer,
        *,
        discard: Callable[[str], object],
    ) -> None:
        self._settings = settings
        self._rows = rows
        self._jobs = jobs
        self._connectors = connectors
        self._qa = qa
        self._discard = discard

    def handlers(self) -> Mapping[StepCode | tuple[JobKind, StepCode], Handler]:
        """Returns a handler for each step of a training; each acts as the job's owner."""
        handlers: dict[StepCode, Handler] = {
            StepCode.PULL_TRAINING_DATA: self.pull,
            StepCode.ANALYZE_TRAINING_DATA: self.analyze,
            StepCode.ENCODE_TRAINING_DATA: self.encode,
            StepCode.TRAIN_MODEL: self.train,
            StepCode.GENERATE_MODEL_REPORT_DATA: self.sample,
            StepCode.CREATE_MODEL_REPORT: self.report,
            StepCode.FINALIZE_TRAINING: self.finalize,
        }
        return {code: partial(_as_owner, handler) for code, handler in handlers.items()}

    async def pull(self, ctx: StepContext) -> StepResult:
        """Has the connector service read the table, or all of its connector's tables, into artifacts."""
        table = ctx.payload["table"]
        if "leader" in ctx.payload:
            read = ctx.outputs[step_key(ctx.payload["leader"], StepCode.PULL_TRAINING_DATA)]["tables"]
            found, artifacts = read[str(ctx.payload["index"])], []
            await ctx.report(value=found["rows"], max=max(found["rows"], 1))
        else:
            read = await self._read(ctx)
            found, artifacts = read[str(ctx.payload["index"])], [each["pulled"] for each in read.values()]
        await ctx.log(f'read {found["rows"]} rows of table "{table["name"]}"')
        output = {"artifacts": artifacts, "tables": read, **found}
        return StepResult(output, commit=self._editing(ctx, {"total_rows": found["rows"]}))

    async def _read(self, ctx: StepContext) -> dict[str, dict[str, Any]]:
        """Reads tables of one connector in one snapshot; returns what came of each, by its position."""
        spec = ctx.payload["table"]
        alone = {
            "index": ctx.payload["index"],
            "location": spec["location"],
            "columns": [name for name, _ in spec["columns"]],
            "max_rows": spec["max_rows"],
            "seed": spec["seed"],
        }
        reads = ctx.payload.get("group", [alone])
        names = {read["index"]: ctx.artifact_name(f"pulled-{read['index']}") for read in reads}
        latest: dict[str, internal_pb2.PullTableProgress] = {}
        async for event in self._connectors.pull(spec["connector_id"], reads, names):
            latest[event.artifact_name] = event.progress
            rows = sum(progress.rows for progress in latest.values())
            total = sum(max(progress.total_rows, progress.rows) for progress in latest.values())
            await ctx.report(value=rows, max=max(total, 1))
        return {
            str(index): {
                "pulled": name,
                "rows": latest[name].rows,
                "sha256": latest[name].content_sha256,
            }
            for index, name in names.items()
        }

    async def analyze(self, ctx: StepContext) -> StepResult:
        """Sets the holdout aside and learns the columns' protected value ranges."""
        names = {part: ctx.artifact_name(part) for part in ("training", "holdout", "codec")}
        pulled = _output(ctx, StepCode.PULL_TRAINING_DATA)["pulled"]
        payload = {
            "table": ctx.payload["table"],
            "pulled": pulled,
            "holdout_fraction": self._settings.holdout_fraction,
            **names,
        }
        result = await ctx.execute(f"{_TASKS}:analyze", payload)
        output = {
            "artifacts": list(names.values()),
            **names,
            "rows": result["rows"],
            "holdout_rows": result["holdout_rows"],
        }
        return StepResult(output, commit=self._editing(ctx, {}, ranges=result["value_ranges"]))

    async def encode(self, ctx: StepContext) -> StepResult:
        """Turns the training rows into codes."""
        analyzed, codes = _output(ctx, StepCode.ANALYZE_TRAINING_DATA), ctx.artifact_name("codes")
        payload = {"training": analyzed["training"], "codec": analyzed["codec"], "codes": codes}
        await ctx.execute(f"{_TASKS}:encode", payload)
        return StepResult({"artifacts": [codes], "codes": codes})

    async def train(self, ctx: StepContext) -> StepResult:
        """Trains the model."""
        bundle = ctx.artifact_name("bundle")
        payload = {
            "table": ctx.payload["table"],
            "codec": _output(ctx, StepCode.ANALYZE_TRAINING_DATA)["codec"],
            "codes": _output(ctx, StepCode.ENCODE_TRAINING_DATA)["codes"],
            "checkpoints": f"{ctx.artifact_prefix}/checkpoints",
            "bundle": bundle,
        }
        result = await ctx.execute(f"{_TASKS}:train", payload)
        await ctx.log(f"trained for {result['epochs']} epochs on {result['rows']} rows")
        return StepResult({"artifacts": [bundle], "bundle": bundle})

    async def sample(self, ctx: StepContext) -> StepResult:
        """Samples as many rows as there are training rows, up to a limit."""
        output, table = ctx.artifact_name("synthetic"), ctx.payload["table"]
        rows = min(_output(ctx, StepCode.ANALYZE_TRAINING_DATA)["rows"], self._settings.report_rows)
        payload = {
            "bundle": _output(ctx, StepCode.TRAIN_MODEL)["bundle"],
            "rows": rows,
            "seed": table["seed"],
            "table_name": table["name"],
            "output": output,
        }
        await ctx.execute(f"{_TASKS}:sample_report_data", payload)
        return StepResult({"artifacts": [output], "synthetic": output})

    async def report(self, ctx: StepContext) -> StepResult:
        """Has the qa service compare the samples with training data and holdout."""
        analyzed, report = _output(ctx, StepCode.ANALYZE_TRAINING_DATA), ctx.artifact_name("report")
        table = ctx.payload["table"]
        found: ModelMetrics | None = None
        async for value, most, metrics in self._qa.evaluate(
            synthetic=_output(ctx, StepCode.GENERATE_MODEL_REPORT_DATA)["synthetic"],
            training=analyzed["training"],
            holdout=analyzed["holdout"] if analyzed["holdout_rows"] else "",
            report=report,
            table_name=table["name"],
            title=f"{ctx.resource_name}: {table['name']}",
            seed=table["seed"],
        ):
            found = metrics or found
            await ctx.report(value=value, max=max(most, 1))
        metrics = found or ModelMetrics()
        output = {"artifacts": [report], "report": report, "metrics": metrics.model_dump(mode="json")}
        return StepResult(output, commit=self._editing(ctx, {"model_metrics": metrics}))

    async def finalize(self, ctx: StepContext) -> StepResult:
        """Publishes the models and records what they were made from."""
        models, sources, accuracies = [], [], []
        prefix = f"{generator_prefix(ctx.resource_id)}/{ctx.job_id}"
        for index, table in enumerate(ctx.payload["tables"]):
            bundle = ctx.outputs[step_key(index, StepCode.TRAIN_MODEL)]["bundle"]
            report = ctx.outputs[step_key(index, StepCode.CREATE_MODEL_REPORT)]
            sha256 = await asyncio.to_thread(bundle_sha256, ctx.artifacts, bundle)
            models.append(
                TrainedModel(table_id=table["id"], bundle=bundle, sha256=sha256, report=report["report"])
            )
            pulled = ctx.outputs[step_key(index, StepCode.PULL_TRAINING_DATA)]
            sources.append((table["name"], pulled["rows"], pulled["sha256"]))
            accuracies.append((report["metrics"].get("accuracy") or {}).get("overall"))
            await ctx.report(value=index + 1, max=len(ctx.payload["tables"]))
        kept = await asyncio.to_thread(copy_models, ctx.artifacts, models, prefix)
        job = await self._jobs.get(ctx.job_id)
        seconds = sum(
            (step.end_date - step.start_date).total_seconds()
            for step in job.progress.steps or ()
            if step.start_date and step.end_date
        )
        known = [accuracy for accuracy in accuracies if accuracy is not None]

        async def commit(tx: Transaction) -> None:
            row = await self._rows.get(tx.connection, _TRAINER, ctx.resource_id)
            generator = generator_of(row, _TRAINER, {})
            state = TrainingState.model_validate(row["state"])
            usage = GeneratorUsage(total_compute_time=round(seconds))
            trained = generator.updated(
                {
                    "training_time": utc_now(),
                    "accuracy": sum(known) / len(known) if known else None,
                    "usage": usage,
                    "provenance": _provenance(generator, kept, sources, ctx.payload["seed"]),
                }
            )
            changed = state.updated({"models": kept, "initial_models": None})
            await self._rows.update(
                tx, ctx.resource_id, document=document_of(trained), state=changed.model_dump(mode="json")
            )
            for folder in (training_prefix(ctx.job_id), initial_prefix(ctx.resource_id)):
                tx.after_commit(partial(self._discard, folder))

        return StepResult({"models": len(kept)}, commit=commit)

    def _editing(
        self, ctx: StepContext, changes: Mapping[str, Any], *, ranges: Mapping[str, Any] | None = None
    ) -> Callable[[Transaction], Awaitable[None]]:
        """Returns a commit that changes the step's table in the generator's row."""

        async def commit(tx: Transaction) -> None:
            row = await self._rows.get(tx.connection, _TRAINER, ctx.resource_id)
            generator = generator_of(row, _TRAINER, {})
            tables = list(generator.tables or ())
            at = next(i for i, table in enumerate(tables) if table.id == ctx.payload["table"]["id"])
            columns = [
                column.updated({"value_range": SourceColumnValueRange(**ranges[column.name])})
                if ranges and column.name in ranges
                else column
                for column in tables[at].columns
            ]
            tables[at] = tables[at].updated({**changes, "columns": columns})
            changed = generator.model_copy(update={"tables": tables})
            await self._rows.update(tx, ctx.resource_id, document=document_of(changed))

        return commit


def bundle_sha256(artifacts: ArtifactStore, name: str) -> str:
    """Returns the SHA-256 that identifies a bundle: of its files' names and contents."""
    files = artifacts.open(name).manifest.files
    listing = {file: entry.sha256 for file, entry in files.items()}
    return hashlib.sha256(json.dumps(listing, sort_keys=True).encode()).hexdigest()


def _output(ctx: StepContext, code: StepCode) -> Mapping[str, Any]:
    """Returns what an earlier step of the same table gave."""
    return ctx.outputs[step_key(ctx.payload["index"], code)]


async def _as_owner(handler: Handler, ctx: StepContext) -> StepResult:
    with acting_as(ctx.owner):
        return await handler(ctx)


def _provenance(
    generator: Generator,
    models: Sequence[TrainedModel],
    sources: Sequence[tuple[str, int, str]],
    seed: int,
) -> Provenance:
    tables = {table.id: table for table in generator.tables or ()}
    by_name = {table.name: table for table in tables.values()}
    config = json.dumps(
        generator_config(generator).model_dump(mode="json"), sort_keys=True, separators=(",", ":")
    )
    return Provenance(
        sources=[
            ProvenanceSource(
                table_name=name,
                connector_id=source.id if (source := by_name[name].source_connector) else None,
                location=by_name[name].location,
                rows=rows,
                content_sha256=sha256 or None,
            )
            for name, rows, sha256 in sources
        ],
        configuration_sha256=hashlib.sha256(config.encode()).hexdigest(),
        bundles=[
            ProvenanceBundle(
                table_name=tables[model.table_id].name, model_type=ModelType.TABULAR, sha256=model.sha256
            )
            for model in models
        ],
        seed=seed,
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in ("simulacra", "torch", "numpy", "pyarrow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
