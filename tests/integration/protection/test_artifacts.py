"""Nothing that outlives a job holds a value of a single person, in whatever form.

A person with values that nobody else has is planted in a table. After training, report and generation every
file that the platform keeps is searched, as bytes and, if it is Parquet or compressed, as what it holds. Only
the person's own data, which the connector keeps for its owner, may have the values.
"""

import gzip
import io
import struct
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulacra import engine
from simulacra.client import Simulacra
from simulacra.errors import SimulacraError

NAME, CODE, NUMBER, AMOUNT, DAY = (
    "Zyxwvut Qponmlk",
    "QX-93817-ZZ",
    981_273_645_546,
    76_543_219.875,
    "1871-03-14",
)
FORMS: dict[str, bytes] = {
    "the name": NAME.encode(),
    "the code": CODE.encode(),
    "the number as text": str(NUMBER).encode(),
    "the number as int64": struct.pack("<q", NUMBER),
    "the amount as text": str(AMOUNT).encode(),
    "the amount as double": struct.pack("<d", AMOUNT),
    "the day as text": DAY.encode(),
    "the day as microseconds": struct.pack(
        "<q", (date.fromisoformat(DAY) - date(1970, 1, 1)).days * 86_400_000_000
    ),
}


def table(rows: int = 500) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "name": rng.choice(["Ann", "Bea", "Cid", "Dov"], rows),
            "code": [f"AB-{n:05d}-CD" for n in rng.integers(0, 10**5, rows)],
            "figure": rng.integers(0, 50, rows).astype(str),
            "number": rng.integers(0, 1000, rows),
            "amount": rng.lognormal(3, 1, rows),
            "day": pd.Timestamp("2015-01-01") + pd.to_timedelta(rng.integers(0, 2000, rows), unit="D"),
        }
    )
    planted: dict[str, Any] = {
        "name": NAME,
        "code": CODE,
        "figure": CODE,
        "number": NUMBER,
        "amount": AMOUNT,
        "day": pd.Timestamp(DAY),
    }
    for column, value in planted.items():
        frame.loc[250, column] = value
    return frame


def contents(path: Path) -> Iterator[bytes]:
    """Yields a file's bytes, and what they hold once unpacked; Parquet as its rows in text and in binary."""
    yield from unpacked(path.read_bytes())


def unpacked(data: bytes) -> Iterator[bytes]:
    yield data
    if data[:4] == b"PAR1":
        rows = pq.read_table(io.BytesIO(data))
        yield rows.to_pandas().to_csv().encode()
        for column in rows.columns:
            for chunk in column.chunks:
                yield b"".join(bytes(buffer) for buffer in chunk.buffers() if buffer is not None)
    elif data[:2] == b"\x1f\x8b":
        yield from unpacked(gzip.decompress(data))
    elif data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield from unpacked(archive.read(name))


def found_in(folder: Path) -> dict[str, list[str]]:
    """Returns the files that hold a planted value, and which."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            whole = list(contents(path))
            hits = [form for form, needle in FORMS.items() if any(needle in part for part in whole)]
            if hits:
                found[str(path.relative_to(folder))] = hits
    return found


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a platform that has trained, reported, generated and exported."""
    folder = tmp_path_factory.mktemp("platform")
    with Simulacra(data_dir=str(folder / "data")) as client:
        source = client.connectors.upload(table(), name="people")
        config = {"max_training_time": 0.2, "max_epochs": 5}
        tables = [{"name": "people", "source_connector_id": source.id, "model_configuration": config}]
        generator = client.train({"name": "g", "seed": 1, "tables": tables}, progress_bar=False)
        generator.report(folder / "report.html")
        generator.export_to_file(folder / "generator.zip")
        # A training that fails at the person's own value leaves its error in the job.
        figures = [{"name": "figure", "model_encoding_type": "TABULAR_NUMERIC_AUTO"}]
        with pytest.raises(SimulacraError, match=r"'aa-00000-aa' \(letters and digits masked\) is no number"):
            client.train(
                {"name": "failing", "seed": 1, "tables": [{**tables[0], "columns": figures}]},
                progress_bar=False,
            )
        dataset = client.generate(generator, size=400, seed=1, progress_bar=False)
        dataset.save_tables(folder / "rows")
    return folder


def test_the_search_finds_what_is_there(kept: Path) -> None:
    frame = table()
    (kept / "planted").mkdir()
    frame.to_parquet(kept / "planted" / "source.parquet")
    assert set(found_in(kept / "planted")["source.parquet"]) >= {
        "the name", "the code", "the number as text", "the number as int64", "the amount as double",
        "the day as text",
    }  # fmt: skip


def test_only_the_owners_own_upload_has_the_values_of_a_single_person(kept: Path) -> None:
    found = {name: hits for name, hits in found_in(kept).items() if not name.startswith("planted")}
    own = {name for name in found if name.startswith("data/artifacts/uploads/")}
    assert own, "the search does not see the upload"
    # What a failed training has read waits for its restart, and is deleted after a while.
    waiting = {name for name in found if "/pull_training_data-" in name and name.endswith(".parquet")}
    allowed = own | waiting
    assert set(found) == allowed, "\n".join(f"{name}: {found[name]}" for name in set(found) - allowed)


def test_checkpoint_and_bundle_of_the_engine_have_none_either(tmp_path: Path) -> None:
    rows = pa.Table.from_pandas(table())
    codec = engine.analyze(rows)
    config = engine.TrainingConfig(max_epochs=3, checkpoint_seconds=0.0, threads=1)
    checkpoints = engine.FolderCheckpoints(tmp_path / "checkpoint")
    task = engine.TrainingTask(codec, codec.encode(rows), config, checkpoint=checkpoints)
    (*_, last) = engine.train(task)
    assert last.bundle is not None
    last.bundle.save(tmp_path / "bundle")
    (tmp_path / "ranges").write_text(repr(codec.value_ranges()))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    assert not found_in(tmp_path)
