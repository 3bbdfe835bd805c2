"""A table's codecs: schema, order, threads, ranges."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from simulacra.engine import (
    AnalyzeOptions,
    ColumnSpec,
    TableCodec,
    TrainingConfig,
    TrainingTask,
    analyze,
    split_holdout,
    train,
)
from simulacra.engine.split import numbered
from simulacra.errors import CorruptBundle, InvalidArgument, TrainingDataInsufficient, UnsupportedData


def test_output_has_the_schema_and_order_of_the_input(table: pa.Table) -> None:
    dictionary = table.append_column("kind", pa.array(["a", "b"] * 300).dictionary_encode())
    codec = analyze(dictionary)
    decoded = codec.decode(codec.encode(dictionary), np.random.default_rng(0))
    assert decoded.schema.equals(dictionary.schema.remove_metadata())
    assert decoded.num_rows == 600


def test_codecs_survive_json(table: pa.Table) -> None:
    codec = analyze(table)
    again = TableCodec.from_json(json.loads(json.dumps(codec.to_json())))
    assert again.to_json() == codec.to_json()
    assert (again.encode(table) == codec.encode(table)).all()


def test_threads_do_not_change_the_result(table: pa.Table) -> None:
    one, two = (analyze(table, options=AnalyzeOptions(threads=n)).to_json() for n in (1, 2))
    assert one == two


def test_columns_can_be_chosen_and_ordered(table: pa.Table) -> None:
    codec = analyze(table, [ColumnSpec("score", "TABULAR_NUMERIC_DIGIT"), ColumnSpec("color")])
    assert codec.columns == ["score", "color"]
    assert codec.encodings["score"] == "TABULAR_NUMERIC_DIGIT"
    assert codec.value_ranges()["color"].values == ("red", "green", "blue")


def test_wrong_columns_are_named(table: pa.Table) -> None:
    with pytest.raises(InvalidArgument, match="ag"):
        analyze(table, [ColumnSpec("ag")])
    with pytest.raises(UnsupportedData, match='column "nested"'):
        analyze(pa.table({"nested": [[1], [2]]}))
    with pytest.raises(InvalidArgument, match="color"):
        analyze(table).encode(table.drop(["color"]))
    with pytest.raises(TrainingDataInsufficient):
        analyze(table.select([]))


@pytest.mark.parametrize("rows", [0, 1, 19])
def test_a_table_of_too_few_subjects_is_refused_with_the_way_out(table: pa.Table, rows: int) -> None:
    with pytest.raises(TrainingDataInsufficient, match=f"needs 20 .* finds {rows};.*value_protection"):
        analyze(table.slice(0, rows))


def test_rows_of_too_few_subjects_are_refused_too(table: pa.Table) -> None:
    with pytest.raises(TrainingDataInsufficient, match="finds 3;"):
        analyze(table, subjects=np.arange(600) % 3)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_without_protection_a_tiny_table_comes_back(table: pa.Table, rows: int) -> None:
    small = table.slice(0, rows)
    codec = analyze(small, options=AnalyzeOptions(value_protection=False))
    assert codec.decode(codec.encode(small), np.random.default_rng(0)).equals(small)


def test_documents_that_do_not_fit_together_are_refused(table: pa.Table) -> None:
    document = analyze(table).to_json()
    document["columns"][0]["type"] = "int64"
    with pytest.raises(CorruptBundle, match="another type"):
        TableCodec.from_json(document)
    document = analyze(table).to_json()
    document["columns"].append(document["columns"][0])
    with pytest.raises(CorruptBundle, match="same name"):
        TableCodec.from_json(document)


def test_the_holdout_takes_whole_subjects() -> None:
    subjects = np.arange(1000) // 4
    training, holdout = split_holdout(1000, 0.1, seed=1, subjects=subjects)
    assert len(holdout) == 100
    assert not set(subjects[training]) & set(subjects[holdout])
    assert sorted([*training, *holdout]) == list(range(1000))
    assert split_holdout(1000, 0.1, seed=1, subjects=subjects)[1].tolist() == holdout.tolist()


@pytest.mark.parametrize("rows", [0, 1])
def test_the_holdout_of_almost_nothing_is_empty(rows: int) -> None:
    training, holdout = split_holdout(rows, 0.5, seed=0)
    assert (len(training), len(holdout)) == (rows, 0)


def ids(kind: str) -> Any:
    people = [f"p{i // 2}" for i in range(600)]
    return {
        "texts": people,
        "objects": np.array(people, object),
        "arrow": pa.array(people),
        "of several types": np.array([i // 2 if i % 4 < 2 else f"p{i // 2}" for i in range(600)], object),
        "some missing": np.array([None if i % 100 == 0 else i // 2 for i in range(600)], object),
        "pairs": [*map(tuple, np.stack([np.arange(600) // 2, np.ones(600, int)], 1).tolist())],
    }[kind]


@pytest.mark.parametrize("kind", ["texts", "objects", "arrow", "of several types", "some missing"])
def test_subjects_may_have_any_ids(table: pa.Table, kind: str) -> None:
    codec = analyze(table, subjects=ids(kind))
    task = TrainingTask(codec, codec.encode(table), TrainingConfig(max_epochs=1, threads=1), ids(kind))
    assert task.subjects is not None
    assert len(np.unique(task.subjects)) in (300, 301)
    (*_, last) = train(task)
    assert last.bundle is not None


def test_subjects_without_an_id_are_one() -> None:
    named = numbered(np.array([None, "a", float("nan"), 1, "a"], object))
    assert named.tolist() == [0, 1, 0, 2, 1]
    assert numbered(np.array([np.nan, 2.0, np.nan])).tolist() == [1, 0, 1]


@pytest.mark.parametrize("subjects", [ids("pairs"), ids("texts")[:-1], []])
def test_subjects_that_do_not_fit_the_rows_are_refused(table: pa.Table, subjects: Any) -> None:
    with pytest.raises(InvalidArgument, match="one id per row"):
        analyze(table, subjects=subjects)


def test_an_unknown_way_to_replace_rare_categories_is_refused(table: pa.Table) -> None:
    with pytest.raises(InvalidArgument, match="'DROP' is unknown; take CONSTANT or SAMPLE"):
        analyze(table, options=AnalyzeOptions(rare_category_replacement_method="DROP"))
