"""Writes rows into artifacts of Parquet parts, the same bytes for the same rows however they arrive."""

import hashlib
import queue
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simulacra.artifacts import ArtifactManifest, ArtifactStore

__all__ = ["content_sha256", "prefetched", "row_groups", "write_table"]

_GROUP_BYTES = 2**26
_MAX_GROUP_ROWS = 131_072
_HEAVY_BYTES = 2**27
"""Rows that hold so much are a row group, however few they are."""
_STEP_ROWS = 64
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
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
    """Gathers batches of any size into tables of exactly `group_rows` rows, fewer where values are long.

    Where a table ends, the rows alone decide. The last one may be shorter.
    """
    size = group_rows(schema)
    pending: list[pa.RecordBatch] = []
    rows = weight = 0
    for batch in batches:
        pending.append(batch)
        rows += batch.num_rows
        weight += batch.nbytes
        while rows >= size or weight >= _HEAVY_BYTES:
            table = pa.Table.from_batches(pending, schema)
            end = _group_end(table, size)
            if end is None:
                break
            yield table.slice(0, end)
            pending = table.slice(end).to_batches()
            rows, weight = rows - end, sum(each.nbytes for each in pending)
    if rows:
        yield pa.Table.from_batches(pending, schema)


def _group_end(table: pa.Table, size: int) -> int | None:
    """Returns after how many rows a group ends; None, if more rows belong to it."""
    if table.nbytes >= _HEAVY_BYTES:  # which is at least what the values hold
        held = np.cumsum(np.sum([_bytes_of(column)[:size] for column in table.columns], axis=0))
        steps = int(np.searchsorted(held[_STEP_ROWS - 1 :: _STEP_ROWS], _HEAVY_BYTES))
        if (steps + 1) * _STEP_ROWS <= len(held):
            return (steps + 1) * _STEP_ROWS
    return size if table.num_rows >= size else None


def _bytes_of(values: Any) -> npt.NDArray[np.int64]:
    """Returns how many bytes each value holds, (rows,), however a column is laid out in memory."""
    if isinstance(values, pa.ChunkedArray):
        return np.concatenate([np.zeros(0, np.int64), *map(_bytes_of, values.chunks)])
    type = values.type
    if pa.types.is_struct(type):
        none = np.zeros(len(values), np.int64)
        return np.asarray(sum(map(_bytes_of, values.flatten()), none), np.int64)
    if pa.types.is_list(type) or pa.types.is_large_list(type):
        lengths = _numbers(pc.list_value_length(values))
        inside = np.concatenate([[0], np.cumsum(_bytes_of(pc.list_flatten(values)))])
        ends = np.cumsum(lengths)
        return np.asarray(inside[ends] - inside[ends - lengths], np.int64)
    if any(is_type(type) for is_type in _TEXTS):
        return _numbers(pc.binary_length(values))
    try:
        return np.full(len(values), type.bit_width // 8, np.int64)
    except ValueError:  # of a type that no source has
        return np.zeros(len(values), np.int64)


def _numbers(values: Any) -> npt.NDArray[np.int64]:
    return np.asarray(pc.fill_null(values, 0).to_numpy(zero_copy_only=False), np.int64)


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
