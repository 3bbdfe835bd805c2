"""What files hold is found exactly: dialects, encodings, types; what is malformed is named with its line."""

import codecs
import contextlib
import datetime
import gzip
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulacra.errors import CorruptUpload, InvalidArgument, LimitExceeded, UnsupportedData
from simulacra_connector.formats import FileLimits, base_name, format_of, open_file
from simulacra_connector.formats.inference import CONVERSIONS, ColumnInference

LIMITS = FileLimits()


def read(data: bytes, name: str, folder: Path, limits: FileLimits = LIMITS) -> pa.Table:
    path = folder / "file"
    path.write_bytes(data)
    content = open_file(path, file_name=name, limits=limits, scratch=folder)
    return pa.Table.from_batches(content.batches, content.schema)


@pytest.fixture
def csv(tmp_path: Path) -> Any:
    return lambda text, name="a.csv", encoding="utf-8": read(text.encode(encoding), name, tmp_path)


@pytest.mark.parametrize(
    ("values", "type", "expected"),
    [
        (["1", "-2", ""], "int64", [1, -2, None]),
        (["9007199254740993", "NA"], "int64", [9007199254740993, None]),
        (["007", "12"], "string", ["007", "12"]),
        (["+4912345", "12"], "string", ["+4912345", "12"]),
        (["9223372036854775808", "1"], "string", ["9223372036854775808", "1"]),
        (["1", "2.5", "1e3", "NaN"], "double", [1.0, 2.5, 1000.0, None]),
        (["9007199254740993", "0.5"], "string", ["9007199254740993", "0.5"]),
        (["True", "false", "NULL"], "bool", [True, False, None]),
        (["0", "1"], "int64", [0, 1]),
        (["NA", "DE"], "string", ["NA", "DE"]),
        (["1", "x"], "string", ["1", "x"]),
        ([" 1", "2 "], "int64", [1, 2]),
        ([" a", "b "], "string", [" a", "b "]),
        (["1234", '"1,234"'], "int64", [1234, 1234]),
        (['"1,234.5"', "2"], "double", [1234.5, 2.0]),
        (['"1,5"', '"2,25"'], "double", [1.5, 2.25]),
        (["2024-02-29", ""], "date32[day]", [datetime.date(2024, 2, 29), None]),
        (["2024-02-30", "2024-01-01"], "string", ["2024-02-30", "2024-01-01"]),
        (["29.2.2024", "1.3.2024"], "date32[day]", [datetime.date(2024, 2, 29), datetime.date(2024, 3, 1)]),
        (["12/31/2024", "1/2/2024"], "date32[day]", [datetime.date(2024, 12, 31), datetime.date(2024, 1, 2)]),
        (["31/12/2024", "1/2/2024"], "date32[day]", [datetime.date(2024, 12, 31), datetime.date(2024, 2, 1)]),
        (["3/4/2024", "1/2/2024"], "string", ["3/4/2024", "1/2/2024"]),
        (["2024-01-01 10:30", "2024-01-01"], "timestamp[us]",
         [datetime.datetime(2024, 1, 1, 10, 30), datetime.datetime(2024, 1, 1)]),
        (["2024-01-01T00:00:00+02:00"], "timestamp[us, tz=UTC]",
         [datetime.datetime(2023, 12, 31, 22, tzinfo=datetime.UTC)]),
        (["0x1F", "10"], "string", ["0x1F", "10"]),
        (["12:30", "13:45"], "string", ["12:30", "13:45"]),
    ],
)  # fmt: skip
def test_type_of_a_column(csv: Any, values: list[str], type: str, expected: list[Any]) -> None:
    table = csv("k,v\n" + "".join(f"x,{value}\n" for value in values))
    assert str(table.schema.field("v").type) == type
    assert table.column("v").to_pylist() == expected


def test_type_is_found_over_all_rows(csv: Any) -> None:
    rows = 2_000_000
    table = csv("a,b\n" + "1,2\n" * rows + "1,x\n")
    assert [str(field.type) for field in table.schema] == ["int64", "string"]
    assert table.num_rows == rows + 1


@pytest.mark.parametrize(
    "text",
    [
        "a;b\n1;x\n2;y\n",
        "a\tb\n1\tx\n2\ty\n",
        "a|b\n1|x\n2|y\n",
        "a,b\r\n1,x\r\n2,y\r\n",
        '"a","b"\n"1","x"\n"2","y"\n',
        "'a','b'\n'1','x'\n'2','y'\n",
        "a,b\n1,x\n\n2,y",
        "\ufeffa,b\n1,x\n2,y\n",
    ],
)
def test_dialects(csv: Any, text: str) -> None:
    assert csv(text).to_pydict() == {"a": [1, 2], "b": ["x", "y"]}


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_encodings(csv: Any, encoding: str) -> None:
    assert csv("name,n\nCafé,1\n", encoding=encoding).to_pydict() == {"name": ["Café"], "n": [1]}


def test_byte_order_mark_alone_is_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(CorruptUpload):
        read(codecs.BOM_UTF8, "a.csv", tmp_path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a,b\n1,2\n3\n4,5\n", "3"),
        ("a,b\n1,2\n3,4,5\n", "3"),
        ('a,b\n"x\n\ny",2\n3,4,5\n', "5"),
        ('a,b\n1,2\n3,"open\n4,5\n', "3"),
    ],
)
def test_malformed_row_is_reported_by_line(csv: Any, text: str, line: str) -> None:
    with pytest.raises(CorruptUpload) as caught:
        csv(text)
    assert caught.value.metadata["line"] == line
    assert f"line {line}" in caught.value.message


def test_quotes_newlines_and_escapes_in_values(csv: Any) -> None:
    table = csv('a,b\n"x, ""y""\nz",1\n5" pipe,2\n')
    assert table.column("a").to_pylist() == ['x, "y"\nz', '5" pipe']
    assert csv('a,b\n"say \\"hi\\"",1\n').column("a").to_pylist() == ['say "hi"']


def test_one_column_keeps_empty_lines_as_nulls(csv: Any) -> None:
    assert csv("a\n1\n\n3\n").to_pydict() == {"a": [1, None, 3]}


def test_columns_without_name_and_of_one_name(csv: Any) -> None:
    assert csv(",b\n1,2\n").column_names == ["unnamed_1", "b"]
    with pytest.raises(UnsupportedData, match='"b"'):
        csv("b,b\n1,2\n")


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1),
            st.integers(-(2**63), 2**63 - 1),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_csv_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]]) -> None:
    import csv as standard

    buffer = io.StringIO()
    writer = standard.writer(buffer, quoting=standard.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("text", "number"), *((f"t{text}", number) for text, number in rows)])
    table = read(buffer.getvalue().encode(), "a.csv", tmp_path_factory.mktemp("csv"))
    assert table.column("text").to_pylist() == [f"t{text}" for text, _ in rows]
    assert table.column("number").to_pylist() == [number for _, number in rows]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.text()), min_size=1))
def test_inferred_conversion_loses_nothing(values: list[Any]) -> None:
    texts = pa.array([str(value) for value in values])
    inference = ColumnInference(CONVERSIONS)
    inference.observe(texts)
    converted = inference.result().convert(texts)
    for text, value in zip(texts.to_pylist(), converted.to_pylist(), strict=True):
        if isinstance(value, bool):
            assert text.strip().lower() == str(value).lower()
        elif isinstance(value, int | float):
            assert value == (int(text) if isinstance(value, int) else float(text))
        elif isinstance(value, str):
            assert value == text


def test_json_lines_types(tmp_path: Path) -> None:
    lines = [
        '{"int": 9007199254740993, "float": 1, "bool": true, "day": "2024-01-01", "code": "007", "mixed": 1}',
        "",
        '{"float": 2.5, "mixed": "x", "nested": {"a": [1]}, "int": null}',
    ]
    table = read("\n".join(lines).encode(), "a.json", tmp_path)
    assert {field.name: str(field.type) for field in table.schema} == {
        "int": "int64",
        "float": "double",
        "bool": "bool",
        "day": "date32[day]",
        "code": "string",
        "mixed": "string",
        "nested": "string",
    }
    assert table.to_pylist()[0]["int"] == 9007199254740993
    absent = dict.fromkeys(["int", "bool", "day", "code"])
    assert table.to_pylist()[1] == {**absent, "float": 2.5, "mixed": "x", "nested": '{"a": [1]}'}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[1]", "not an object"),
        ('{"a": 1', "line 2"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "line 2"),
    ],
)
def test_malformed_json_line(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(CorruptUpload, match=words):
        read(b'{"a": 1}\n' + line.encode(), "a.jsonl", tmp_path)


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def test_parquet_keeps_exact_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "decimal": pa.array([1, None], pa.decimal128(38, 9)),
            "time": pa.array([1, 2], pa.timestamp("ns", "Europe/Vienna")),
            "binary": [b"\0", None],
            "list": [[1], None],
        }
    )
    assert read(parquet(table), "a.parquet", tmp_path).equals(table)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_unnamed_row_labels_of_frames_are_no_column(name: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": [31, 17, 45, 29]})
    labelled = pa.Table.from_pandas(frame[frame.age > 20])
    assert "__index_level_0__" in labelled.column_names
    named = pa.Table.from_pandas(frame.set_index(pd.Index([7, 8, 9, 6], name="id")))
    plain = pa.table({"age": [31, 45], "__index_level_0__": [1, 2]})
    for table, columns in (
        (labelled, ["age"]),
        (named, ["age", "id"]),
        (plain, ["age", "__index_level_0__"]),
        (labelled.replace_schema_metadata({b"pandas": b"["}), ["age", "__index_level_0__"]),
    ):
        sink = io.BytesIO()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        data = parquet(table) if name.endswith(".parquet") else sink.getvalue()
        result = read(data, name, tmp_path)
        assert result.column_names == columns
        assert result.column("age").to_pylist() == table.column("age").to_pylist()


def test_physical_forms_are_simplified(tmp_path: Path) -> None:
    table = pa.table(
        {
            "category": pa.array(["a", "b", None]).dictionary_encode(),
            "large": pa.array(["a", "b", None], pa.large_string()),
            "null": pa.nulls(3),
            "uuid": pa.ExtensionArray.from_storage(
                pa.uuid(), pa.array([b"\0" * 16, None, None], pa.binary(16))
            ),
        }
    )
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    result = read(sink.getvalue(), "a.arrow", tmp_path)
    assert {str(field.type) for field in result.schema} == {"string"}
    assert result.column("category").to_pylist() == ["a", "b", None]
    assert result.column("uuid").to_pylist()[0] == "00000000-0000-0000-0000-000000000000"


def test_type_that_cannot_be_stored_is_named(tmp_path: Path) -> None:
    table = pa.table({"span": pa.array([pa.MonthDayNano([1, 2, 3])])})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(UnsupportedData, match='"span"'):
        read(sink.getvalue(), "a.feather", tmp_path)


def test_compressed_columns_are_bounded(tmp_path: Path) -> None:
    bomb = parquet(pa.table({"a": ["x" * 1_000_000] * 100}))
    limits = FileLimits(free_bytes=10**7, max_expansion=1)
    with pytest.raises(LimitExceeded, match="unpacks to more"):
        read(bomb, "a.parquet", tmp_path, limits)
    with pytest.raises(LimitExceeded, match="unpacks to more"):
        read(gzip.compress(b"a\n" + b"1\n" * 10**7), "a.csv.gz", tmp_path, limits)


@settings(deadline=None, max_examples=50)
@given(
    st.binary(max_size=400),
    st.sampled_from(["a.csv", "a.csv.gz", "a.tsv", "a.jsonl", "a.parquet", "a.arrow"]),
)
def test_any_bytes_are_a_table_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    with contextlib.suppress(CorruptUpload, UnsupportedData, LimitExceeded):
        read(data, name, tmp_path_factory.mktemp("any"))


@pytest.mark.parametrize("name", ["../../etc/passwd.csv", "C:\\data\\passwd.csv", "/passwd.csv"])
def test_folders_in_names_are_ignored(name: str) -> None:
    assert base_name(name) == "passwd.csv"


@pytest.mark.parametrize("name", ["a.exe", "csv", ".csv", "", "a.csv.zip"])
def test_unknown_suffix(name: str) -> None:
    with pytest.raises(InvalidArgument):
        format_of(name)
