"""Folders of parts are put in place whole; what fails on the way leaves the old ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs
import pytest

from simulacra.errors import AlreadyExists
from simulacra_connector import tables
from simulacra_connector.drivers.base import TableStream, WriteMode
from simulacra_connector.drivers.buckets import writing
from simulacra_connector.drivers.buckets.writing import FolderWriter


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def writer(root: Path, tag: str = "tag") -> FolderWriter:
    def visible(folder: str) -> Sequence[str]:
        paths = sorted(Path(folder).rglob("*")) if Path(folder).is_dir() else []
        return [str(path) for path in paths if path.is_file()]

    return FolderWriter(
        pafs.LocalFileSystem(), tag=tag, staging=f"{root}/_staging-{tag}", visible=visible, check=lambda: None
    )


def stage(to: FolderWriter, *names: str, rows: int = 3) -> dict[str, list[str]]:
    table = pa.table({"a": range(rows)})
    parts: dict[str, list[str]] = {}
    for name in names:
        *_, (files, count) = to.stage(name, TableStream(table.schema, iter(table.to_batches())))
        assert count == rows
        parts[name] = list(files)
    return parts


def rows_in(folder: Path) -> int:
    return int(pads.dataset(folder, format="parquet").count_rows())


def test_folders_are_replaced_and_added_to(root: Path) -> None:
    folders = {"a": f"{root}/out/a", "b/c": f"{root}/out/b_c"}
    for folder in folders.values():
        Path(folder).mkdir(parents=True)
    first = writer(root, "one")
    first.copy(stage(first, *folders), folders)
    first.clear()
    assert not list(root.glob("_staging*"))
    second = writer(root, "two")
    with pytest.raises(AlreadyExists, match="out/a"):
        second.require_free(list(folders.values()), WriteMode.FAIL)
    second.copy(stage(second, *folders, rows=0), folders)
    assert {rows_in(Path(folder)) for folder in folders.values()} == {3}
    second.remove_others(folders.values())
    assert {rows_in(Path(folder)) for folder in folders.values()} == {0}
    # Done again, as after a kill, it is the same.
    second.copy(stage(second, *folders, rows=0), folders)
    second.remove_others(folders.values())
    assert [len(list(Path(folder).iterdir())) for folder in folders.values()] == [1, 1]


def test_a_failure_takes_the_copies_back(root: Path) -> None:
    good, blocked = root / "out" / "a", root / "out" / "b"
    good.mkdir(parents=True)
    (good / "old").write_text("old")
    blocked.write_text("a file where a folder should be")
    failing = writer(root)
    with pytest.raises(OSError, match="b"):
        failing.copy(stage(failing, "a", "b"), {"a": str(good), "b": str(blocked)})
    assert [path.name for path in good.iterdir()] == ["old"]


def test_wide_rows_make_more_parts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_HEAVY_BYTES", 2**16)
    monkeypatch.setattr(writing, "_PART_BYTES", 2**16)
    values = np.random.default_rng(1).bytes(2**20)
    table = pa.table({"a": [values[start : start + 256] for start in range(0, 2**20, 256)]})
    to = writer(root)
    *_, (names, rows) = to.stage("t", TableStream(table.schema, iter(table.to_batches())))
    assert (len(names), rows) == (16, 4096)
    (root / "out").mkdir()
    to.copy({"t": names}, {"t": f"{root}/out"})
    assert pads.dataset(f"{root}/out", format="parquet").to_table().sort_by("a") == table.sort_by("a")
