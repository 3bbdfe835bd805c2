"""What a training job runs in worker processes or on Ray: analyse, encode, train, sample, check.

A model's bundle artifact holds the engine's files and `table.json`, which says what the whole table looks
like: the engine learns the columns that are not keys.
"""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from simulacra import engine
from simulacra.artifacts import Artifact, ArtifactStore
from simulacra.errors import CorruptBundle, TrainingDataInsufficient, UnsupportedData
from simulacra.jobs.task import Task, TaskContext, TaskProgress
from simulacra_trainer.spec import TableSpec

__all__ = ["analyze", "check_bundle", "encode", "sample_report_data", "train"]

_TABLE_FILE = "table.json"
_CODES_FILE = "codes.npy"
_CODEC_FILE = "codec.json"
_CHECKPOINT_SECONDS = 5.0


def analyze(payload: dict[str, Any], context: TaskContext) -> Task:
    """Sets the holdout aside, then learns the codecs from the rest (or takes those of the initial model)."""
    spec = TableSpec(**payload["table"])
    pulled = context.artifacts.open(payload["pulled"])
    table = pulled.table(spec.learnt)
    if table.num_rows == 0:
        raise TrainingDataInsufficient(f'table "{spec.name}" has no rows to learn from', table=spec.name)
    training_rows, holdout_rows = engine.split_holdout(table.num_rows, payload["holdout_fraction"], spec.seed)
    training = table.take(training_rows)
    yield TaskProgress(1, 3, log=f"{len(training_rows)} rows for training, {len(holdout_rows)} set aside")
    try:
        codec = _codec(spec, training, context)
    except TrainingDataInsufficient as error:
        raise TrainingDataInsufficient(
            f'table "{spec.name}" is too small (rows: {table.num_rows}, set aside for the report: '
            f"{len(holdout_rows)}): {error.message}",
            table=spec.name,
        ) from error
    yield TaskProgress(2, 3, message={"encodings": codec.encodings})
    context.artifacts.write_table(payload["training"], training)
    context.artifacts.write_table(payload["holdout"], table.take(holdout_rows))
    with context.artifacts.create(payload["codec"]) as writer:
        writer.write_bytes(_CODEC_FILE, _json(codec.to_json()))
        writer.write_bytes(_TABLE_FILE, _json(_description(spec, pulled.schema)))
        writer.publish(kind="codec")
    yield TaskProgress(3, 3)
    ranges = {
        name: {"min": r.min, "max": r.max, "values": list(r.values or ())[:1000], "has_null": r.has_null}
        for name, r in codec.value_ranges().items()
    }
    return {"rows": len(training_rows), "holdout_rows": len(holdout_rows), "value_ranges": ranges}


def encode(payload: dict[str, Any], context: TaskContext) -> Task:
    """Turns the training rows into the model's codes."""
    codec = _read_codec(context.artifacts.open(payload["codec"]))
    training = context.artifacts.open(payload["training"])
    codes = codec.encode(training.table(), threads=context.cpus)
    with context.artifacts.create(payload["codes"]) as writer:
        buffer = io.BytesIO()
        np.save(buffer, codes, allow_pickle=False)
        writer.write_bytes(_CODES_FILE, buffer.getvalue())
        writer.publish(kind="codes", rows=len(codes))
    yield TaskProgress(1, 1)
    return {"rows": len(codes)}


def train(payload: dict[str, Any], context: TaskContext) -> Task:
    """Trains one model, from the last checkpoint if there is one, and publishes its bundle."""
    spec = TableSpec(**payload["table"])
    codec_artifact = context.artifacts.open(payload["codec"])
    codes = np.load(
        io.BytesIO(context.artifacts.open(payload["codes"]).read_bytes(_CODES_FILE)), allow_pickle=False
    )
    checkpoints = ArtifactCheckpoints(context.artifacts, payload["checkpoints"], context.attempt)
    task = engine.TrainingTask(
        codec=_read_codec(codec_artifact),
        codes=codes,
        config=_training_config(spec, context),
        checkpoint=checkpoints,
        start=load_bundle(context.artifacts.open(spec.initial_bundle)) if spec.initial_bundle else None,
    )
    bundle: engine.Bundle | None = None
    last_loss: float | None = None
    for progress in engine.train(task):
        bundle = progress.bundle
        told = progress.val_loss != last_loss or bundle is not None
        last_loss = progress.val_loss
        yield TaskProgress(
            value=progress.total_steps
            if bundle is not None
            else min(progress.step, progress.total_steps - 1),
            max=progress.total_steps,
            message=_message(progress) if told else None,
        )
    assert bundle is not None
    with context.artifacts.create(payload["bundle"]) as writer:
        for name, data in {**bundle.to_files(), _TABLE_FILE: codec_artifact.read_bytes(_TABLE_FILE)}.items():
            writer.write_bytes(name, data)
        writer.publish(kind="bundle")
    checkpoints.clear()
    return {"rows": len(codes), "epochs": round(float(bundle.facts["epochs"]), 2)}


def sample_report_data(payload: dict[str, Any], context: TaskContext) -> Task:
    """Samples rows from a new model, to be compared with the training data."""
    sampler = engine.Sampler(load_bundle(context.artifacts.open(payload["bundle"])))
    request = engine.SampleRequest(rows=payload["rows"], seed=payload["seed"], table=payload["table_name"])
    batches, rows = [], 0
    for batch in sampler.sample(request, threads=context.cpus):
        batches.append(batch)
        rows += batch.num_rows
        yield TaskProgress(rows, payload["rows"])
    context.artifacts.write_batches(payload["output"], batches, sampler.bundle.codec.schema)
    return {"rows": rows}


def check_bundle(payload: dict[str, Any], context: TaskContext) -> Task:
    """Reads a bundle that was imported, all of it.

    Raises:
        CorruptBundle: It cannot be used.
    """
    yield TaskProgress(0, 1)
    artifact = context.artifacts.open(payload["bundle"])
    bundle = load_bundle(artifact)
    try:
        description = json.loads(artifact.read_bytes(_TABLE_FILE))
        schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(description["schema"])))
        keys = description["keys"]
        sound = [f.remove_metadata() for f in schema if f.name not in keys] == list(
            bundle.codec.schema
        ) and all(isinstance(value, str | None) for value in keys.values())
    except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise CorruptBundle(f"{_TABLE_FILE} of a model cannot be read: {error}") from error
    if not sound:
        raise CorruptBundle(f"{_TABLE_FILE} of a model does not fit its weights")
    return {"columns": schema.names}


def load_bundle(artifact: Artifact) -> "engine.Bundle":
    """Reads the model of a bundle artifact."""
    return engine.Bundle.from_files({name: artifact.read_bytes(name) for name in artifact.files})


class ArtifactCheckpoints:
    """Keeps the checkpoints of a training as artifacts, one for each; later attempts find the newest."""

    def __init__(self, artifacts: ArtifactStore, prefix: str, attempt: int) -> None:
        self._artifacts = artifacts
        self._prefix = prefix
        self._attempt = attempt
        self._number = 0

    def save(self, files: Mapping[str, bytes]) -> None:
        """Publishes a checkpoint, then deletes the older ones."""
        older = self._artifacts.names(self._prefix)
        name = f"{self._prefix}/{self._attempt:06d}-{self._number:06d}"
        self._number += 1
        with self._artifacts.create(name) as writer:
            for file, data in files.items():
                writer.write_bytes(file, data)
            writer.publish(kind="checkpoint")
        for other in older:
            if other < name:
                self._artifacts.delete(other)

    def load(self) -> Mapping[str, bytes] | None:
        """Returns the newest checkpoint of any attempt."""
        names = self._artifacts.names(self._prefix)
        if not names:
            return None
        newest = self._artifacts.open(names[-1])
        return {file: newest.read_bytes(file) for file in newest.files}

    def clear(self) -> None:
        """Deletes all checkpoints: the training has ended."""
        self._artifacts.delete(self._prefix)


def _codec(spec: TableSpec, training: pa.Table, context: TaskContext) -> "engine.TableCodec":
    if spec.initial_bundle is not None:
        codec = load_bundle(context.artifacts.open(spec.initial_bundle)).codec
        try:
            training.select(codec.columns).cast(codec.schema)
        except (KeyError, pa.ArrowException) as error:
            raise UnsupportedData(
                f'table "{spec.name}" is not what its weights were trained on any more: {error}; clone the '
                "generator with training_status NEW",
                table=spec.name,
            ) from error
        return codec
    columns = [engine.ColumnSpec(name, encoding) for name, encoding in spec.columns if name in spec.learnt]
    options = engine.AnalyzeOptions(
        value_protection=spec.value_protection,
        rare_category_replacement_method=spec.rare_category_replacement_method,
        seed=spec.seed,
        threads=context.cpus,
    )
    return engine.analyze(training, columns, options=options)


def _training_config(spec: TableSpec, context: TaskContext) -> "engine.TrainingConfig":
    device = "cpu"
    if context.gpus:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    return engine.TrainingConfig(
        max_training_time_seconds=spec.max_training_time * 60,
        max_epochs=spec.max_epochs,
        batch_size=spec.batch_size,
        flexible=spec.flexible,
        seed=spec.seed,
        threads=context.cpus,
        device=device,
        checkpoint_seconds=_CHECKPOINT_SECONDS,
    )


def _message(progress: "engine.TrainProgress") -> dict[str, Any]:
    return {
        "epoch": round(progress.epoch, 2),
        "steps": progress.step,
        "samples": progress.samples,
        "train_loss": round(progress.train_loss, 5),
        "val_loss": None if progress.val_loss is None else round(progress.val_loss, 5),
        "learn_rate": progress.learning_rate,
        "total_time": round(progress.elapsed, 2),
        "is_checkpoint": progress.best,
    }


def _description(spec: TableSpec, pulled: pa.Schema) -> dict[str, Any]:
    """Describes the whole table: its schema, and each key column's part."""
    names = [name for name, _ in spec.columns]
    fields = [pulled.field(name) for name in names]
    return {"schema": pa.schema(fields).serialize().to_pybytes().hex(), "keys": spec.keys}


def _read_codec(artifact: Artifact) -> "engine.TableCodec":
    return engine.TableCodec.from_json(json.loads(artifact.read_bytes(_CODEC_FILE)))


def _json(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
