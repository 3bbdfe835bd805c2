"""Artifacts of tables depend on the rows alone, and readers ahead hand their errors over."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from simulacra.artifacts import ArtifactStore
from simulacra_connector import tables
from simulacra_connector.drivers.base import TableStream
from simulacra_connector.sources import MAX_CHUNK_BYTES, ipc_chunks
from simulacra_connector.tables import content_sha256, prefetched, row_groups, write_table


def batches(table: pa.Table, size: int) -> Iterator[pa.RecordBatch]:
    return iter(table.to_batches(max_chunksize=size))


def test_hash_depends_on_rows_not_on_batches(tmp_path: Path) -> None:
    store = ArtifactStore.from_url(tmp_path.as_uri())
    table = pa.table({"a": range(300_000), "b": [str(n % 7) for n in range(300_000)]})
    for name, size in [("x", 1000), ("y", 70_001)]:
        progress = list(
            write_table(store, name, schema=table.schema, batches=batches(table, size), attributes={})
        )
        assert progress[-1] == 300_000
        assert store.open(name).table().equals(table)
    assert content_sha256(store.open("x").manifest) == content_sha256(store.open("y").manifest)


def test_large_table_has_several_parts(tmp_path: Path) -> None:
    store = ArtifactStore.from_url(tmp_path.as_uri())
    table = pa.table({"a": range(2_500_000)})
    list(write_table(store, "x", schema=table.schema, batches=batches(table, 10**6), attributes={}))
    assert len(store.open("x").files) == 3
    assert store.open("x").table().equals(table)


def test_long_values_make_small_groups_which_the_rows_alone_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_HEAVY_BYTES", 2**20)
    sizes = np.random.default_rng(1).integers(0, 3000, 4_000)
    texts = [None if size < 30 else "x" * size for size in sizes.tolist()]
    columns: dict[str, Any] = {
        "text": texts,
        "number": pa.array(range(4_000), pa.decimal128(9, 2)),
        "flag": [size % 2 == 0 for size in sizes.tolist()],
        "list": [[text, "y"] if text else None for text in texts],
        "struct": [{"text": text, "n": 1} for text in texts],
    }
    table = pa.table(columns)
    groups = list(row_groups(batches(table, 4_000), table.schema))
    assert pa.concat_tables(groups).equals(table)
    assert max(group.nbytes for group in groups) < 2 * 2**20
    assert min(group.num_rows for group in groups[:-1]) >= 64
    for size in (50, 777, 3999):
        again = [group.num_rows for group in row_groups(batches(table, size), table.schema)]
        assert again == [group.num_rows for group in groups]


def test_empty_table_keeps_its_schema(tmp_path: Path) -> None:
    store = ArtifactStore.from_url(tmp_path.as_uri())
    schema = pa.schema({"a": pa.int64()})
    assert list(write_table(store, "x", schema=schema, batches=iter([]), attributes={})) == [0]
    assert store.open("x").schema == schema
    assert store.open("x").table().num_rows == 0


def test_closing_early_leaves_nothing(tmp_path: Path) -> None:
    store = ArtifactStore.from_url(tmp_path.as_uri())
    table = pa.table({"a": range(300_000)})
    writing = write_table(store, "x", schema=table.schema, batches=batches(table, 1000), attributes={})
    next(writing)
    writing.close()
    assert not store.exists("x")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_prefetch_passes_errors_on() -> None:
    def failing() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"a": [1]})
        raise ValueError("broken")

    with prefetched(failing()) as items:
        assert next(items).num_rows == 1
        with pytest.raises(ValueError, match="broken"):
            next(items)


def test_prefetch_stops_when_nobody_reads_on() -> None:
    def endless() -> Iterator[pa.RecordBatch]:
        while True:
            yield pa.record_batch({"a": [1]})

    with prefetched(endless()) as items:
        next(items)


def test_chunks_join_to_an_arrow_stream_and_are_small() -> None:
    table = pa.table(
        {"n": range(100_000), "t": ["x" * 100] * 100_000, "fat": [b"y" * 10] * 99_999 + [b"z" * 3_000_000]}
    )
    chunks = list(ipc_chunks(TableStream(table.schema, batches(table, 64_000), 100_000)))
    assert max(map(len, chunks)) <= MAX_CHUNK_BYTES
    assert pa.ipc.open_stream(b"".join(chunks)).read_all().equals(table)
