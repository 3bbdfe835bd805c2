"""What worker processes run: one evaluation, from artifacts to a report artifact."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from simulacra.artifacts import Artifact, ArtifactStore
from simulacra.errors import ArtifactNotFound
from simulacra.jobs.task import Task, TaskContext, TaskProgress
from simulacra_qa.against import Asked, Compared, compare_steps
from simulacra_qa.evaluation import Context, Evaluation, Options, evaluation_steps
from simulacra_qa.families import with_relation
from simulacra_qa.intent import Intent
from simulacra_qa.metrics.accuracy import Reference
from simulacra_qa.report import Heading, render
from simulacra_qa.results import metrics_document
from simulacra_qa.seeds import seed_of
from simulacra_qa.shares import pair_file
from simulacra_qa.statistics import STATISTICS_FILE, Statistics, statistics_of

__all__ = [
    "METRICS_FILE",
    "PAIRS_FILE",
    "REPORT_FILE",
    "compare_with_statistics",
    "evaluate_artifacts",
    "read_json",
]

REPORT_FILE, METRICS_FILE, PAIRS_FILE = "report.html", "metrics.json", "pairs.parquet"
_WHOLE = 110
_WRITING = 105
_ROLES = ("training", "holdout", "synthetic")


def evaluate_artifacts(payload: dict[str, Any], context: TaskContext) -> Task:
    """Evaluates the artifacts that the payload names, writes the report artifact and returns the metrics.

    Args:
        payload: `training`, `holdout` (may be empty), `synthetic` and `report` are names of artifacts;
            `title` and `table_name` are for the report; `seed` seeds everything random; `reference` is a
            `Reference`, TRAINING if it is missing; `key`, `target`, `embed`, `embedder`, `context_training`
            and so on are as in `Options` and `Context`, and may be missing or empty; `keep_statistics` says
            whether the artifact also gets the protected statistics that `compare_with_statistics` needs.
        context: Where artifacts are.
    """
    reference = Reference(payload.get("reference", Reference.TRAINING))
    options = Options(
        seed=payload["seed"],
        reference=reference,
        key=payload.get("key") or None,
        target=payload.get("target") or None,
        embed=payload.get("embed", True),
        embedder=Path(payload["embedder"]) if payload.get("embedder") else None,
    )

    def read(prefix: str) -> tuple[pa.Table, pa.Table | None, pa.Table]:
        names = [payload.get(f"{prefix}{role}", "") for role in _ROLES]
        found = [_read(context.artifacts, name, options, stream) for stream, name in enumerate(names)]
        assert found[0] is not None
        assert found[2] is not None
        return found[0], found[1], found[2]

    around = Context(*read("context_"), key=payload["context_key"]) if payload.get("context_key") else None
    tables = read("")
    for step in evaluation_steps(*tables, options, around):
        if isinstance(step, Evaluation):
            evaluation = step
        else:
            yield TaskProgress(value=step.value, max=_WHOLE)
    if around is not None:
        names = {"child": payload["table_name"] or "rows", "parent": payload.get("context_name") or "context"}
        evaluation = with_relation(evaluation, tables, around, **names)
    yield TaskProgress(value=_WRITING, max=_WHOLE)
    kept = payload.get("keep_statistics", False)
    files = {STATISTICS_FILE: statistics_of(evaluation).to_bytes()} if kept else {}
    metrics = _write(context.artifacts, payload, evaluation, Intent(), files)
    yield TaskProgress(value=_WHOLE, max=_WHOLE)
    return {"metrics": metrics}


def compare_with_statistics(payload: dict[str, Any], context: TaskContext) -> Task:
    """Compares generated data with the statistics of their model, writes the report, returns the metrics.

    Args:
        payload: `synthetic`, `statistics` (a model's report) and `report` are names of artifacts; `title`,
            `table_name` and `seed` as above; `rebalanced`, `seeded`, `imputed`, `fair` and `notes` say what
            was asked for, as in `Asked`.
        context: Where artifacts are.
    """
    seed = seed_of(payload["seed"])
    synthetic = _read(context.artifacts, payload["synthetic"], Options(seed=seed), 2)
    assert synthetic is not None
    model = context.artifacts.open(payload["statistics"])
    if STATISTICS_FILE not in model.files:
        raise ArtifactNotFound("the model has no statistics to compare generated data with; train it again")
    statistics = Statistics.from_bytes(model.read_bytes(STATISTICS_FILE))
    asked = Asked(**{name: payload[name] for name in ("rebalanced", "seeded", "imputed", "fair", "notes")})
    for step in compare_steps(statistics, synthetic, asked, seed=seed):
        if isinstance(step, Compared):
            compared = step
        else:
            yield TaskProgress(value=step.value, max=step.max + 1)
    metrics = _write(context.artifacts, payload, compared.evaluation, compared.intent, {})
    return {"metrics": metrics}


def _read(artifacts: ArtifactStore, name: str, options: Options, stream: int) -> pa.Table | None:
    """Reads a table, or a random sample of the rows of one that is larger than an evaluation looks at."""
    if not name:
        return None
    artifact = artifacts.open(name)
    rows = artifact.manifest.rows or 0
    if rows <= options.max_rows or options.key:  # whole subjects are drawn where rows have any
        return artifact.table()
    picked = np.random.default_rng([options.seed, stream]).choice(rows, options.max_rows, replace=False)
    picked.sort()
    parts, start = [], 0
    for batch in artifact.batches():
        low, high = np.searchsorted(picked, [start, start + batch.num_rows])
        parts.append(batch.take(picked[low:high] - start))
        start += batch.num_rows
    return pa.Table.from_batches(parts, artifact.schema)


def read_json(artifact: Artifact, file: str) -> dict[str, Any]:
    """Reads a JSON file of an artifact."""
    document: dict[str, Any] = json.loads(artifact.read_bytes(file))
    return document


def _write(
    artifacts: ArtifactStore,
    payload: dict[str, Any],
    evaluation: Evaluation,
    intent: Intent,
    files: dict[str, bytes],
) -> Any:
    """Writes the report artifact; returns the metrics as JSON."""
    heading = Heading(title=payload["title"], table_name=payload["table_name"])
    document = intent.document(metrics_document(evaluation), evaluation)
    contents = {
        REPORT_FILE: render(evaluation, heading, intent).encode(),
        METRICS_FILE: json.dumps(document, indent=1, ensure_ascii=False).encode(),
        PAIRS_FILE: pair_file(evaluation),
        **files,
    }
    with artifacts.create(payload["report"]) as writer:
        for name, data in contents.items():
            writer.write_bytes(name, data)
        writer.publish(kind="report", attributes={"metrics": document["metrics"]})
    return document["metrics"]
