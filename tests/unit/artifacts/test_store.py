"""Artifacts in a local folder: visible whole or not at all, verified, swept."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulacra.artifacts import ArtifactStore, manifest, reader
from simulacra.errors import (
    ArtifactNotFound,
    ChecksumMismatch,
    CorruptBundle,
    InvalidArgument,
    StorageFull,
    UnsupportedData,
)

TABLE = pa.table(
    {
        "id": pa.array([1, 2, 3], pa.int32()),
        "name": pa.array(["a", None, "ä"]),
        "at": pa.array([0, None, 1], pa.timestamp("us", tz="UTC")),
        "amount": pa.array([None, 1, 2], pa.decimal128(10, 2)),
    }
)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.from_url(f"file://{tmp_path / 'artifacts'}")


def test_rows_of_long_values_are_read_few_at_once(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_BATCH_BYTES", 2**16)
    table = pa.table({"a": [os.urandom(1024) for _ in range(1000)]})
    store.write_table("long", table)
    read = list(store.open("long").batches())
    assert max(batch.num_rows for batch in read) <= 64
    assert pa.Table.from_batches(read).equals(table)


def test_table_comes_back_with_its_types_and_attributes(store: ArtifactStore) -> None:
    written = store.write_table("training/j1/1", TABLE, {"source": "people"})
    artifact = store.open("training/j1/1")
    assert artifact.table().equals(TABLE)
    assert artifact.table(["name"]).schema.names == ["name"]
    assert pa.Table.from_batches(artifact.batches(["at", "id"])).equals(TABLE.select(["at", "id"]))
    assert artifact.schema == TABLE.schema
    assert artifact.manifest == written
    assert (written.kind, written.rows, written.attributes) == ("table", 3, {"source": "people"})


def test_table_without_rows_keeps_its_schema(store: ArtifactStore) -> None:
    store.write_batches("empty", [], TABLE.schema)
    assert store.open("empty").table().equals(TABLE.schema.empty_table())


def test_many_batches_become_several_parts_in_order(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulacra.artifacts.store._PART_ROWS", 25)
    batches = [pa.record_batch({"n": pa.array(range(start, start + 10))}) for start in range(0, 100, 10)]
    store.write_batches("numbers", iter(batches), batches[0].schema)
    artifact = store.open("numbers")
    assert len(artifact.files) == 4
    assert artifact.table()["n"].to_pylist() == list(range(100))


def test_nothing_is_seen_before_it_is_published(store: ArtifactStore) -> None:
    with store.create("bundle") as writer:
        writer.write_bytes("weights.safetensors", b"1234")
        with writer.open("deep/er/config.json") as file:
            file.write(b"{}")
        assert not store.exists("bundle")
        assert store.names() == []
        with pytest.raises(ArtifactNotFound, match="no artifact 'bundle'"):
            store.open("bundle")
        writer.publish(kind="bundle")
    assert store.names() == ["bundle"]
    assert store.open("bundle").files == ["deep/er/config.json", "weights.safetensors"]


def test_writer_that_fails_leaves_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    def fail() -> None:
        with store.create("a/b") as writer:
            writer.write_bytes("f", b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()] == []


def test_publishing_again_replaces(store: ArtifactStore) -> None:
    store.write_table("t", TABLE)
    old = store.open("t")
    store.write_table("t", TABLE.slice(1))
    assert store.open("t").table().num_rows == 2
    assert old.table().num_rows == 3  # who has it open reads on, until the sweep
    assert len(store.sweep("", timedelta(0))) == 1
    with pytest.raises(ArtifactNotFound, match="is gone"):
        old.table()
    assert store.open("t").table().num_rows == 2


def test_leftovers_of_killed_writers_are_swept_when_old(store: ArtifactStore, tmp_path: Path) -> None:
    store.write_table("training/kept", TABLE)
    code = f"""
import os, signal
from simulacra.artifacts import ArtifactStore
writer = ArtifactStore.from_url("file://{tmp_path / "artifacts"}").create("training/lost")
writer.write_bytes("part", b"x")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert store.sweep("training", timedelta(hours=1)) == []
    (swept,) = store.sweep("training", timedelta(0))
    assert swept.startswith("training/lost/data-")
    assert store.names("training") == ["training/kept"]
    assert store.open("training/kept").table().equals(TABLE)


def test_names_are_below_a_folder_not_a_prefix_of_letters(store: ArtifactStore) -> None:
    for name in ("training/a/1", "training/a/2", "training/ab/1", "trainings"):
        store.write_table(name, TABLE)
    assert store.names("training/a") == ["training/a/1", "training/a/2"]
    store.delete("training/a")
    store.delete("training/a")
    assert store.names() == ["training/ab/1", "trainings"]


def test_damaged_file_is_not_handed_out(store: ArtifactStore, tmp_path: Path) -> None:
    store.write_table("t", TABLE)
    (part,) = (tmp_path / "artifacts").rglob("*.parquet")
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(ChecksumMismatch, match=r"file 'part-00000\.parquet' of artifact 't' is damaged"):
        store.open("t").table()


@pytest.mark.parametrize("in_memory", [0, 1 << 20])
def test_large_files_are_verified_too(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    monkeypatch.setattr("simulacra.artifacts.reader._IN_MEMORY", in_memory)
    store.write_table("t", TABLE)
    assert store.open("t").table().equals(TABLE)
    remote = ArtifactStore(store._filesystem, is_local=False)
    with remote.open("t").open_file("part-00000.parquet") as file:
        file.seek(-4, os.SEEK_END)
        assert file.read() == b"PAR1"
    (part,) = (tmp_path / "artifacts").rglob("*.parquet")
    part.write_bytes(b"x" + part.read_bytes()[1:])
    for damaged in (store, remote):
        with pytest.raises(ChecksumMismatch):
            damaged.open("t").table()


def test_copy_to_a_folder(store: ArtifactStore, tmp_path: Path) -> None:
    with store.create("bundle") as writer:
        writer.write_bytes("deep/a", b"1")
        writer.write_bytes("b", b"2")
        writer.publish(kind="bundle")
    store.open("bundle").copy_to(tmp_path / "copy")
    assert ((tmp_path / "copy/deep/a").read_bytes(), (tmp_path / "copy/b").read_bytes()) == (b"1", b"2")


def test_what_is_not_there_is_said(store: ArtifactStore) -> None:
    with store.create("bundle") as writer:
        writer.publish(kind="bundle")
    with pytest.raises(ArtifactNotFound, match="has no file 'x'"):
        store.open("bundle").read_bytes("x")
    with pytest.raises(UnsupportedData, match="is not a table"):
        store.open("bundle").table()


BAD_NAMES = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "a/..",
    "../a",
    "a/../../b",
    ".hidden",
    "a//b",
    "a/",
    "a\\b",
    "a\x00",
    "ä",
    "a b",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_cannot_leave_the_store(store: ArtifactStore, name: str) -> None:
    for call in (store.create, store.open, store.exists, store.delete):
        with pytest.raises(InvalidArgument):
            call(name)
    with store.create("ok") as writer, pytest.raises(InvalidArgument):
        writer.write_bytes(name, b"")
    with store.create("ok") as writer, pytest.raises(InvalidArgument):
        writer.write_bytes("manifest.json", b"")


@given(st.text())
def test_no_name_that_passes_has_a_way_up(name: str) -> None:
    try:
        checked = manifest.check_name(name)
    except InvalidArgument:
        return
    assert not {"", ".", ".."} & set(checked.split("/"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format_version": 9}',
        '{"format_version": 1, "files": {"../x": {"path": "a", "size": 1, "sha256": ""}}}',
        '{"format_version": 1, "files": {"x": {"path": "../../a", "size": 1, "sha256": ""}}}',
    ],
)
def test_damaged_or_hostile_manifests_are_refused(store: ArtifactStore, tmp_path: Path, text: str) -> None:
    (tmp_path / "artifacts/t").mkdir()
    (tmp_path / "artifacts/t/manifest.json").write_text(text)
    with pytest.raises(CorruptBundle):
        store.open("t")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte; skips where we may not mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a small tmpfs can only be mounted by root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_is_storage_full_and_leaves_nothing(small_disk: Path) -> None:
    store = ArtifactStore.from_url(f"file://{small_disk}")
    rows = pa.table({"filler": pa.array([os.urandom(1000) for _ in range(2000)], pa.binary())})
    with pytest.raises(StorageFull, match="free some disk space"):
        store.write_table("big", rows)
    assert store.names() == []
    store.write_table("small", TABLE)
    assert store.open("small").table().equals(TABLE)


def test_file_size_limit_is_storage_full_too(tmp_path: Path) -> None:
    code = f"""
import resource
from simulacra.artifacts import ArtifactStore
from simulacra.errors import StorageFull
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
with ArtifactStore.from_url("file://{tmp_path}").create("big") as writer:
    try:
        writer.write_bytes("file", b"x" * 1_000_000)
    except StorageFull:
        print("full")
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"full\n"
