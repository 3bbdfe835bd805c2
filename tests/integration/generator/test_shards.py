"""From pulled rows to synthetic ones by the worker tasks alone: shards change nothing."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from simulacra.artifacts import ArtifactStore
from simulacra.errors import UnsupportedData
from simulacra.jobs import TaskContext
from simulacra.jobs.task import run_task
from simulacra_generator.spec import TableControls
from simulacra_trainer.spec import TableSpec
from tests.integration.client.people import people

ROWS = 18_000  # five blocks, the last one not full


@pytest.fixture
def context(tmp_path: Path) -> TaskContext:
    artifacts = ArtifactStore.from_url((tmp_path / "artifacts").as_uri())
    return TaskContext(artifacts, attempt=1, scratch=tmp_path, cpus=1, gpus=0)


def run(context: TaskContext, task: str, payload: dict[str, Any]) -> dict[str, Any]:
    *_, last = run_task(f"simulacra_{task}", payload, context)
    assert "result" in last, last
    result: dict[str, Any] = last["result"]
    return result


def train(context: TaskContext, rows: pa.Table, keys: dict[str, str | None]) -> str:
    """Runs the tasks of a training; returns the bundle's artifact."""
    spec = TableSpec(
        id="t",
        name="people",
        connector_id="c",
        location="",
        columns=[(name, "AUTO") for name in rows.column_names],
        keys=keys,
        seed=1,
        max_rows=None,
        max_training_time=0.1,
        max_epochs=2,
        batch_size=None,
        flexible=True,
        value_protection=True,
        rare_category_replacement_method="CONSTANT",
        initial_bundle=None,
    ).to_json()
    context.artifacts.write_table("pulled", rows)
    parts = {part: f"t/{part}" for part in ("training", "holdout", "codec")}
    found = run(
        context,
        "trainer.tasks:analyze",
        {"table": spec, "pulled": "pulled", "holdout_fraction": 0.1, **parts},
    )
    assert (found["rows"], found["holdout_rows"]) == (450, 50)
    run(
        context,
        "trainer.tasks:encode",
        {"training": parts["training"], "codec": parts["codec"], "codes": "codes"},
    )
    payload = {
        "table": spec,
        "codec": parts["codec"],
        "codes": "codes",
        "checkpoints": "c",
        "bundle": "bundle",
    }
    run(context, "trainer.tasks:train", payload)
    assert set(run(context, "trainer.tasks:check_bundle", {"bundle": "bundle"})["columns"]) == set(
        rows.column_names
    )
    return "bundle"


def generate(context: TaskContext, bundle: str, ranges: list[tuple[int, int]]) -> pa.Table:
    """Runs the tasks of a generation in shards of these ranges of blocks."""
    controls = TableControls("people", bundle, "sha", ROWS, seed=5, referenced={"teams": 10}).to_json()
    shards = [f"shard-{number}" for number in range(len(ranges))]
    for name, (first, last) in zip(shards, ranges, strict=True):
        payload = {"controls": controls, "first": first, "last": last, "output": name}
        run(context, "generator.tasks:generate", payload)
    joined = run(context, "generator.tasks:join", {"shards": shards, "output": "joined"})
    assert joined["rows"] == ROWS
    return context.artifacts.open("joined").table()


def test_the_same_rows_whatever_the_shards(context: TaskContext) -> None:
    rows = pa.Table.from_pandas(people(500), preserve_index=False)
    rows = rows.append_column("id", pa.array(range(500))).append_column("team", pa.array([1] * 500))
    bundle = train(context, rows, {"id": None, "team": "teams"})
    whole = generate(context, bundle, [(0, 5)])
    assert whole.schema.names == rows.schema.names
    assert whole["id"].to_pylist() == list(range(1, ROWS + 1))
    assert set(whole["team"].to_pylist()) == set(range(1, 11))
    for ranges in ([(0, 2), (2, 5)], [(n, n + 1) for n in range(5)]):
        assert generate(context, bundle, ranges).equals(whole)


def test_a_key_that_cannot_be_made_is_named(context: TaskContext) -> None:
    rows = pa.Table.from_pandas(people(500)[["age", "city"]], preserve_index=False)
    rows = rows.append_column("id", pa.array([[n] for n in range(500)]))
    bundle = train(context, rows, {"id": None})
    controls = TableControls("people", bundle, "other", 10, seed=5).to_json()
    payload = {"controls": controls, "first": 0, "last": 1, "output": "x"}
    *_, last = run_task("simulacra_generator.tasks:generate", payload, context)
    assert last["error"]["reason"] == UnsupportedData.reason
    assert 'key column "id"' in last["error"]["message"]
