"""What worker processes run: one evaluation, from artifacts to a report artifact."""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from simulacra.artifacts import Artifact, ArtifactStore
from simulacra.jobs.task import Task, TaskContext, TaskProgress
from simulacra_qa.evaluation import Evaluation, Options, evaluation_steps
from simulacra_qa.metrics.accuracy import Reference
from simulacra_qa.report import Heading, render
from simulacra_qa.results import metrics_document
from simulacra_qa.shares import pair_file

__all__ = ["METRICS_FILE", "PAIRS_FILE", "REPORT_FILE", "evaluate_artifacts", "read_json"]

REPORT_FILE, METRICS_FILE, PAIRS_FILE = "report.html", "metrics.json", "pairs.parquet"
_NO_SIGN = 2**63 - 1
_WHOLE = 110
_WRITING = 105


def evaluate_artifacts(payload: dict[str, Any], context: TaskContext) -> Task:
    """Evaluates the artifacts that the payload names, writes the report artifact and returns the metrics.

    Args:
        payload: `training`, `holdout` (may be empty), `synthetic` and `report` are names of artifacts;
            `title` and `table_name` are for the report; `seed` seeds everything random; `reference` is a
            `Reference`, TRAINING if it is missing.
        context: Where artifacts are.
    """
    reference = Reference(payload.get("reference", Reference.TRAINING))
    options = Options(seed=payload["seed"] & _NO_SIGN, reference=reference)
    tables = [
        _read(context.artifacts, payload[role], options, stream)
        for stream, role in enumerate(("training", "holdout", "synthetic"))
    ]
    training, holdout, synthetic = tables
    assert training is not None
    assert synthetic is not None
    for step in evaluation_steps(training, holdout, synthetic, options):
        if isinstance(step, Evaluation):
            evaluation = step
        else:
            yield TaskProgress(value=step.value, max=_WHOLE)
    heading = Heading(title=payload["title"], table_name=payload["table_name"])
    html, document = render(evaluation, heading), metrics_document(evaluation)
    yield TaskProgress(value=_WRITING, max=_WHOLE)
    pairs = pair_file(evaluation)
    _write(context.artifacts, payload["report"], html, document, pairs)
    yield TaskProgress(value=_WHOLE, max=_WHOLE)
    return {"metrics": document["metrics"]}


def _read(artifacts: ArtifactStore, name: str, options: Options, stream: int) -> pa.Table | None:
    """Reads a table, or a random sample of the rows of one that is larger than an evaluation looks at."""
    if not name:
        return None
    artifact = artifacts.open(name)
    rows = artifact.manifest.rows or 0
    if rows <= options.max_rows:
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


def _write(artifacts: ArtifactStore, name: str, html: str, document: dict[str, Any], pairs: bytes) -> None:
    with artifacts.create(name) as writer:
        writer.write_bytes(REPORT_FILE, html.encode())
        writer.write_bytes(METRICS_FILE, json.dumps(document, indent=1, ensure_ascii=False).encode())
        writer.write_bytes(PAIRS_FILE, pairs)
        writer.publish(kind="report", attributes={"metrics": document["metrics"]})
