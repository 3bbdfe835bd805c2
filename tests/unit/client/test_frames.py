"""Frames go out as Parquet and come back with their types."""

import datetime
import uuid
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulacra.client._frames import as_sources, frame_of, parquet_of, table_name_of
from simulacra.errors import InvalidArgument, UnsupportedData


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "count": [1, 2, 3],
            "rate": [0.5, None, 1.5],
            "nullable": pd.array([1, None, 3], dtype="Int32"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "name": ["a", None, "c"],
            "at": pd.Series([pd.Timestamp("2020-01-01"), pd.NaT, pd.Timestamp("2021-02-03 04:05:06")]),
            "kind": pd.Categorical(["x", "y", "x"]),
        }
    )


def test_types_survive_the_way_there_and_back() -> None:
    original = frame()
    table = pq.read_table(pa.BufferReader(parquet_of(original, name="t")))
    pd.testing.assert_frame_equal(frame_of(table), original)


def test_whole_numbers_with_nulls_stay_whole_numbers_without_metadata() -> None:
    table = pa.table({"a": pa.array([2**60 + 1, None]), "b": pa.array([True, None]), "c": pa.array([1, 2])})
    read = frame_of(table)
    assert read.dtypes.astype(str).to_dict() == {"a": "Int64", "b": "boolean", "c": "int64"}
    assert read["a"][0] == 2**60 + 1


def test_mixed_types_in_a_column_are_refused_with_its_name() -> None:
    with pytest.raises(UnsupportedData, match="mixed"):
        parquet_of(pd.DataFrame({"mixed": [1, "a", {"b": 1}]}), name="t")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"m": [1, "a", b"x"]}, 'column "m" has values of the types bytes, int, str; make them one type'),
        ({"c": pd.Series(["\ud800"], dtype=object)}, "surrogates not allowed"),
        ({"c": [1j]}, "column c with type complex128"),
    ],
)
def test_what_parquet_cannot_hold_is_told_in_a_sentence(columns: dict[str, object], words: str) -> None:
    with pytest.raises(UnsupportedData, match=words):
        parquet_of(pd.DataFrame(columns), name="t")


def test_two_columns_of_one_name_are_refused() -> None:
    for data in (pd.DataFrame([[1, 2]], columns=["a", "a"]), pa.table([[1], [2]], names=["a", "a"])):
        with pytest.raises(UnsupportedData, match='two columns "a"; rename one'):
            parquet_of(data, name="t")


@pytest.mark.parametrize(
    ("file", "table"),
    [("people.csv", "people"), ("people.csv.gz", "people"), ("a.b.parquet", "a.b"), ("x.jsonl", "x")],
)
def test_a_files_table_is_named_after_it(file: str, table: str) -> None:
    assert table_name_of(Path("some/where") / file) == table


def test_sources_come_from_frames_paths_lists_and_dicts(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("a\n1\n")
    assert [source.name for source in as_sources({"one": frame(), "two": path})] == ["one", "two"]
    assert [source.file_name for source in as_sources([str(path)])] == ["people.csv"]
    assert as_sources(frame(), name="mine")[0].name == "mine"
    assert as_sources(pa.table({"a": [1]}))[0].file_name == "data.parquet"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("nowhere.csv", 'no file "nowhere.csv"'),
        (__file__, "none of the kinds"),
        ([], "at least one table"),
        (7, "give a DataFrame.* not int"),
        ([frame(), frame()], 'more than one table is called "data"'),
    ],
)
def test_wrong_data_is_refused_with_the_reason(data: object, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message) as caught:
        as_sources(data)
    assert caught.value.violations[0].field == "data"


def test_types_that_arrow_does_not_keep_come_back() -> None:
    ids = [uuid.uuid4(), None, uuid.uuid4()]
    frame = pd.DataFrame(
        {
            "category": pd.Categorical(["b", "a", None]),
            "period": pd.period_range("1969-12", periods=3, freq="M"),
            "uuid": pd.Series(ids, dtype=object),
            "objects": pd.Series([1, "x", 2.5], dtype=object),
        }
    )
    table = pq.read_table(BytesIO(parquet_of(frame, name="t")))
    back = frame_of(table)
    assert back["category"].tolist()[:2] == ["b", "a"]
    assert {name: str(back[name].dtype) for name in back} == {
        "category": "category",
        "period": "period[M]",
        "uuid": "object",
        "objects": "object",
    }
    assert back["period"].tolist() == frame["period"].tolist()
    assert back["uuid"].dropna().tolist() == [ids[0], ids[2]]
    assert [type(value) for value in back["objects"]] == [int, str, float]


def test_days_beyond_pythons_years_become_moments() -> None:
    far = pa.array([-1_000_000, None, 4_000_000], pa.int32()).cast(pa.date32())
    near = pa.array([0, None, 1], pa.int32()).cast(pa.date32())
    frame = frame_of(pa.table({"far": far, "near": near, "none": pa.nulls(3, pa.date32())}))
    assert str(frame["far"].dtype) == "datetime64[s]"
    assert (frame["far"].dt.year.iloc[0], frame["far"].dt.year.iloc[2]) == (-768, 12921)
    assert frame["near"].iloc[2] == datetime.date(1970, 1, 2)
    lists = pa.array([[-1_000_000]], pa.list_(pa.int32())).cast(pa.list_(pa.date32()))
    with pytest.raises(UnsupportedData, match='"lists"'):
        frame_of(pa.table({"lists": lists}))


def back(values: Any) -> pd.Series:
    column = values if isinstance(values, pd.Series) else pd.Series(values, dtype=object)
    sent = pq.read_table(BytesIO(parquet_of(pd.DataFrame({"x": column}), name="t")))
    return frame_of(sent)["x"]


@pytest.mark.parametrize(
    "values",
    [
        [np.int64(1), "a", None, np.float64(2.5), np.bool_(True), np.str_("b")],
        [2**64 - 1, 0, None],
        [2**70, -1, None],
        [2**70, "x", 1.5],
    ],
    ids=["scalars of numpy", "beyond int64", "beyond 64 bits", "beside text"],
)
def test_objects_come_back_as_they_were(values: list[Any]) -> None:
    column = back(values)
    assert column.isna().tolist() == [value is None for value in values]
    there = [value for value in values if value is not None]
    found = column.dropna().tolist()
    assert found == there
    assert [type(value) for value in found] == [
        type(value.item() if isinstance(value, np.generic) else value) for value in there
    ]


def test_categories_of_several_types_come_back() -> None:
    column = pd.Series(pd.Categorical([1, "a", None, 1]))
    assert back(column).dtype == "category"
    assert back(column).tolist()[:2] == [1, "a"]
    assert back(column).isna().tolist() == [False, False, True, False]


def test_days_beside_moments_do_not_cost_the_times_of_day() -> None:
    found = back([datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1, 3, 30), None])
    assert found.tolist()[:2] == [pd.Timestamp("2020-01-01"), pd.Timestamp("2020-01-01 03:30")]


@pytest.mark.parametrize(
    ("values", "words"), [([b"a", "a"], "bytes, str"), (["\ud800", "a"], "surrogates not allowed")]
)
def test_what_would_not_come_back_is_refused(values: list[Any], words: str) -> None:
    with pytest.raises(UnsupportedData, match=words) as caught:
        back(values)
    str(caught.value).encode()
