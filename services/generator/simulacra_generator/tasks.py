"""What runs in worker processes or on Ray: sampling tables and probes, joining shards, building downloads."""

import base64
import contextlib
import json
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from simulacra import engine
from simulacra.artifacts import Artifact, ArtifactStore
from simulacra.engine.controls import make_plan
from simulacra.errors import FieldViolation, InvalidArgument, UnsupportedData
from simulacra.jobs.task import Task, TaskContext, TaskProgress
from simulacra_generator.arrow import IpcWriter
from simulacra_generator.downloads import Table, build_download
from simulacra_generator.seeds import as_learnt
from simulacra_generator.spec import TableControls

__all__ = ["check", "generate", "join", "make_download", "probe"]

_TABLE_FILE = "table.json"
_LOADED = 16


class TableSampler:
    """A loaded model with the keys that it does not learn: samples whole tables."""

    def __init__(self, artifact: Artifact) -> None:
        files = {name: artifact.read_bytes(name) for name in artifact.files}
        description = json.loads(files.pop(_TABLE_FILE))
        self.schema: pa.Schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(description["schema"])))
        self._keys: dict[str, str | None] = description["keys"]
        self._sampler = engine.Sampler(engine.Bundle.from_files(files))
        learnt = self._sampler.bundle.codec.schema
        # The engine may add that a column can be null.
        fields = [
            f if f.name in self._keys else learnt.field(f.name).with_metadata(f.metadata) for f in self.schema
        ]
        self.schema = pa.schema(fields)

    def sample(
        self, controls: TableControls, seeds: pa.Table | None, *, first: int, last: int | None, threads: int
    ) -> Iterator[pa.RecordBatch]:
        """Yields a batch for each block in a range; a block's rows depend on nothing but seed and number."""
        request = self._request(controls, seeds, first, last)
        start = first * engine.BLOCK_ROWS
        with _fields_named(controls):
            for batch in self._sampler.sample(request, threads=threads):
                yield self._with_keys(batch, start, controls)
                start += batch.num_rows

    def check(self, controls: TableControls, seeds: pa.Table | None) -> None:
        """Raises InvalidArgument for what cannot be sampled."""
        with _fields_named(controls):
            make_plan(self._sampler.bundle, self._request(controls, seeds, 0, None))

    def _request(
        self, controls: TableControls, seeds: pa.Table | None, first: int, last: int | None
    ) -> engine.SampleRequest:
        rebalancing = engine.Rebalancing(**controls.rebalancing) if controls.rebalancing else None
        fairness = None
        if controls.fairness:
            sensitive = tuple(controls.fairness["sensitive_columns"])
            fairness = engine.Fairness(controls.fairness["target_column"], sensitive)
        return engine.SampleRequest(
            rows=controls.rows,
            seed=controls.seed,
            table=controls.name,
            first_block=first,
            last_block=last,
            temperature=controls.temperature,
            top_p=controls.top_p,
            seeds=None if seeds is None else as_learnt(seeds, self._sampler.bundle.codec.schema),
            rebalancing=rebalancing,
            imputation=tuple(controls.imputation),
            fairness=fairness,
        )

    def _with_keys(self, batch: pa.RecordBatch, start: int, controls: TableControls) -> pa.RecordBatch:
        columns = [
            self._key(field, start, batch.num_rows, controls)
            if field.name in self._keys
            else batch[field.name]
            for field in self.schema
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _key(self, field: pa.Field, start: int, rows: int, controls: TableControls) -> pa.Array:
        """Numbers the rows from 1 (primary key), or draws rows of the referenced table (foreign key)."""
        referenced = self._keys[field.name]
        if referenced is None:
            numbers = np.arange(start + 1, start + rows + 1)
        else:
            entropy = [controls.seed & (2**63 - 1), start, *controls.name.encode(), *field.name.encode()]
            rng = np.random.default_rng(entropy)
            numbers = rng.integers(1, max(controls.referenced.get(referenced, 1), 1) + 1, rows)
        try:
            return pa.array(numbers).cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UnsupportedData(
                f'key column "{field.name}" has type {field.type}, for which no keys can be made; '
                "exclude it from training",
                column=field.name,
            ) from error


@contextlib.contextmanager
def _fields_named(controls: TableControls) -> Iterator[None]:
    """Names the fields of the configuration where the engine names its own."""
    try:
        yield
    except InvalidArgument as error:
        path = controls.seed_field.rpartition(".")[0]
        fields = {"seeds": controls.seed_field, "rows": f"{path}.sample_size"}
        named = [
            FieldViolation(fields.get(item.field) or f"{path}.{item.field}", item.description)
            for item in error.violations
        ]
        if not named:
            raise
        text = "; ".join(f"{item.field}: {item.description}" for item in named)
        raise InvalidArgument(text, violations=named) from error


class _Samplers:
    """The models that this worker has loaded, the latest used kept."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[tuple[str, str], TableSampler] = OrderedDict()

    def get(self, artifacts: ArtifactStore, name: str, sha256: str) -> TableSampler:
        sampler = self._loaded.pop((name, sha256), None) or TableSampler(artifacts.open(name))
        self._loaded[name, sha256] = sampler
        if len(self._loaded) > _LOADED:
            self._loaded.popitem(last=False)
        return sampler


_samplers = _Samplers()


def generate(payload: dict[str, Any], context: TaskContext) -> Task:
    """Samples a range of blocks of a table into an artifact."""
    controls = TableControls(**payload["controls"])
    sampler = _samplers.get(context.artifacts, controls.bundle, controls.sha256)
    seeds = context.artifacts.open(controls.seeds).table() if controls.seeds else None
    # One thread whatever there is: the rows must not depend on the machine that a shard runs on.
    batches = sampler.sample(controls, seeds, first=payload["first"], last=payload["last"], threads=1)
    yield TaskProgress(0, 1)
    manifest = context.artifacts.write_batches(payload["output"], batches, sampler.schema)
    return {"rows": manifest.rows}


def check(payload: dict[str, Any], context: TaskContext) -> Task:
    """Tries on the models what tables are asked for, and samples nothing."""
    for document in payload["tables"]:
        controls = TableControls(**document)
        sampler = _samplers.get(context.artifacts, controls.bundle, controls.sha256)
        sampler.check(controls, context.artifacts.open(controls.seeds).table() if controls.seeds else None)
    yield TaskProgress(1, 1)
    return {}


def join(payload: dict[str, Any], context: TaskContext) -> Task:
    """Makes one artifact of the parts of several, in their order."""
    artifacts = context.artifacts
    shards = [artifacts.open(name) for name in payload["shards"]]
    rows = sum(shard.manifest.rows or 0 for shard in shards)
    number = 0
    with artifacts.create(payload["output"]) as writer:
        for position, shard in enumerate(shards):
            for file in shard.files:
                with shard.open_file(file) as source, writer.open(f"part-{number:05d}.parquet") as sink:
                    while block := source.read(1 << 20):
                        sink.write(block)
                number += 1
            yield TaskProgress(position + 1, len(shards))
        writer.publish(kind="table", rows=rows, schema=shards[0].schema)
    for shard in shards:
        artifacts.delete(shard.name)
    return {"rows": rows, "columns": len(shards[0].schema)}


def probe(payload: dict[str, Any], context: TaskContext) -> Task:
    """Samples a few rows of each table; each message is a piece of the table's Arrow IPC stream."""
    for position, document in enumerate(payload["tables"]):
        controls = TableControls(**document)
        sampler = _samplers.get(context.artifacts, controls.bundle, controls.sha256)
        seeds = context.artifacts.open(controls.seeds).table() if controls.seeds else None
        writer = IpcWriter(sampler.schema)
        for batch in sampler.sample(controls, seeds, first=0, last=None, threads=context.cpus):
            for data in writer.write(batch):
                yield _piece(position, data)
        for data in writer.close():
            yield _piece(position, data)
    return {}


def make_download(payload: dict[str, Any], context: TaskContext) -> Task:
    """Builds the file of a download as an artifact."""
    yield TaskProgress(0, 1)
    tables = []
    for name, artifact_name in payload["tables"]:
        artifact = context.artifacts.open(artifact_name)
        tables.append(Table(name, artifact.schema, artifact.batches, artifact.manifest.rows or 0))
    with context.artifacts.create(payload["output"]) as writer:
        with writer.open("file") as sink:
            file_name = build_download(
                sink,
                tables,
                file_format=payload["format"],
                stem=payload["stem"],
                neutralise_formulas=payload["neutralise_formulas"],
            )
        writer.publish(kind="download", attributes={"file_name": file_name})
    return {}


def _piece(table: int, data: bytes) -> TaskProgress:
    return TaskProgress(message={"table": table, "data": base64.b64encode(data).decode()})
