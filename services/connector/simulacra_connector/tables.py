"""Writes rows into artifacts of Parquet parts, the same bytes for the same rows however they arrive."""

import hashlib
import queue
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from simulacra.artifacts import ArtifactManifest, ArtifactStore

__all__ = ["content_sha256", "prefetched", "row_groups", "write_table"]

_GROUP_BYTES = 2**26
_MAX_GROUP_ROWS = 131_072
_PART_ROWS = 2**20
_TEXT_BYTES = 32


def group_rows(schema: pa.Schema) -> int:
    """Returns the rows of a row group: by the schema alone, so that the same rows give the same file."""
    width = sum(_byte_width(field.type) for field in schema)
    return max(1024, min(_MAX_GROUP_ROWS, _GROUP_BYTES // max(width, 1)))


def _byte_width(type: pa.DataType) -> int:
    try:
        return max(1, int(type.bit_width) // 8)
    except ValueError:
        return _TEXT_BYTES


def row_groups(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Gathers batches of any size into tables of exactly `group_rows` rows; the last one may be shorter."""
    size = group_rows(schema)
    pending: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        pending.append(batch)
        rows += batch.num_rows
        while rows >= size:
            table = pa.Table.from_batches(pending, schema)
            yield table.slice(0, size)
            pending = table.slice(size).to_batches()
            rows -= size
    if rows:
        yield pa.Table.from_batches(pending, schema)


def write_table(
    store: ArtifactStore,
    name: str,
    *,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    attributes: Mapping[str, Any],
) -> Generator[int, None, None]:
    """Writes and publishes an artifact; yields the rows written so far, the last time when it is there.

    Closing the generator early leaves nothing behind.
    """
    rows = 0
    with store.create(name) as writer:
        with ExitStack() as part:
            parquet: pq.ParquetWriter | None = None
            for table in row_groups(batches, schema):
                if parquet is None or rows % _PART_ROWS == 0:
                    part.close()
                    sink = part.enter_context(writer.open(f"part-{rows // _PART_ROWS:05d}.parquet"))
                    parquet = part.enter_context(pq.ParquetWriter(sink, schema, compression="zstd"))
                parquet.write_table(table, row_group_size=table.num_rows)
                rows += table.num_rows
                yield rows
        writer.publish(kind="table", rows=rows, attributes=attributes, schema=schema)
    yield rows


def content_sha256(manifest: ArtifactManifest) -> str:
    """Returns one hash for a table's rows: of its schema and its files, which depend on nothing else."""
    digest = hashlib.sha256(manifest.schema or b"")
    for name in sorted(manifest.files):
        digest.update(bytes.fromhex(manifest.files[name].sha256))
    return digest.hexdigest()


@contextmanager
def prefetched(batches: Iterator[pa.RecordBatch], *, depth: int = 2) -> Iterator[Iterator[pa.RecordBatch]]:
    """Reads ahead in a thread, so that the source delivers while the last batches are compressed."""
    items: queue.Queue[pa.RecordBatch | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: pa.RecordBatch | BaseException | None) -> None:
        while not stop.is_set():
            try:
                items.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def produce() -> None:
        try:
            for batch in batches:
                put(batch)
                if stop.is_set():
                    return
            put(None)
        except BaseException as error:  # handed over to the consumer, whatever it is
            put(error)

    def consume() -> Iterator[pa.RecordBatch]:
        while (item := items.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        stop.set()
        thread.join()
