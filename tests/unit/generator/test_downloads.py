"""The files of downloads: every format holds what the table holds, or says why it cannot."""

import datetime as dt
import decimal
import io
import json
import zipfile
from collections.abc import Iterator

import openpyxl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from simulacra.errors import UnsupportedData
from simulacra_generator.downloads import XLSX_MAX_ROWS, Table, build_download

ROWS = pa.table(
    {
        "id": pa.array([1, 2**60, None], pa.int64()),
        "text": pa.array(["=1+1", "", None]),
        "amount": pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("-3.00")], pa.decimal128(9, 2)),
        "at": pa.array([dt.datetime(2020, 1, 2, 3, 4, 5), None, dt.datetime(1800, 1, 1)], pa.timestamp("us")),
        "share": pa.array([0.5, float("nan"), None]),
        "kind": pa.array(["-x", "b", "-12.5"]).dictionary_encode(),
    }
)


def table(rows: pa.Table = ROWS, name: str = "people") -> Table:
    def batches() -> Iterator[pa.RecordBatch]:
        return iter(rows.to_batches(max_chunksize=2))

    return Table(name, rows.schema, batches, rows.num_rows)


def build(form: str, *tables: Table, safe: bool = False) -> tuple[str, bytes]:
    sink = io.BytesIO()
    name = build_download(
        sink, tables or [table()], file_format=form, stem="my data", neutralise_formulas=safe
    )
    return name, sink.getvalue()


def test_parquet_holds_everything() -> None:
    name, data = build("PARQUET")
    assert name == "people.parquet"
    written = pa.parquet.read_table(io.BytesIO(data))
    assert written.schema.equals(ROWS.schema)
    assert written.drop(["share"]).combine_chunks() == ROWS.drop(["share"])


def test_csv_keeps_null_and_empty_apart() -> None:
    name, data = build("CSV")
    assert name == "people.csv"
    lines = data.decode().splitlines()
    assert lines[1] == '1,"=1+1","1.10",2020-01-02 03:04:05.000000,0.5,"-x"'
    assert lines[2].startswith(f'{2**60},"",,,nan')
    assert lines[3].startswith(',,"-3.00"')


def test_json_lines_hold_one_object_a_row() -> None:
    name, data = build("JSON")
    assert name == "people.jsonl"
    first, second, _ = (json.loads(line) for line in data.decode().splitlines())
    assert first["amount"] == "1.10"
    assert first["at"] == "2020-01-02T03:04:05"
    assert second == {"id": 2**60, "text": "", "amount": None, "at": None, "share": None, "kind": "b"}


def test_a_workbook_runs_no_formula_and_rounds_no_number() -> None:
    name, data = build("XLSX")
    assert name == "people.xlsx"
    sheet = openpyxl.load_workbook(io.BytesIO(data))["people"]
    assert [cell.value for cell in sheet[1]] == ROWS.column_names
    assert sheet["B2"].data_type == "s"
    assert sheet["A3"].value == str(2**60)
    assert sheet["C2"].value == 1.1
    assert sheet["D2"].value == dt.datetime(2020, 1, 2, 3, 4, 5)
    assert sheet["D4"].value == "1800-01-01T00:00:00"


def test_formulas_are_neutralised_on_request() -> None:
    _, data = build("CSV", safe=True)
    lines = data.decode().splitlines()
    assert '"\'=1+1"' in lines[1]
    assert '"\'-x"' in lines[1]
    assert '"-12.5"' in lines[3]  # a number is no formula
    sheet = openpyxl.load_workbook(io.BytesIO(build("XLSX", safe=True)[1]))["people"]
    assert sheet["B2"].value == "'=1+1"


def test_several_tables_become_an_archive() -> None:
    name, data = build("CSV", table(), table(name="pe/ople"), table(name="pe?ople"))
    assert name == "my data.zip"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["people.csv", "pe_ople.csv", "pe_ople_2.csv"]


def test_several_tables_become_sheets_of_one_workbook() -> None:
    name, data = build("XLSX", table(), table(name="x" * 40), table(name="x" * 41))
    assert name == "my data.xlsx"
    assert openpyxl.load_workbook(io.BytesIO(data)).sheetnames == ["people", "x" * 31, "x" * 27 + "_2"]


def test_more_rows_than_a_sheet_holds_are_refused_by_name() -> None:
    large = Table("big one", ROWS.schema, lambda: iter(()), XLSX_MAX_ROWS)
    with pytest.raises(UnsupportedData, match='"big one" has 1048576 rows'):
        build("XLSX", large)


def test_a_text_that_no_cell_holds_is_refused_by_name() -> None:
    rows = pa.table({"essay": ["x" * 40_000]})
    with pytest.raises(UnsupportedData, match=r"people\.essay"):
        build("XLSX", table(rows))


@pytest.mark.parametrize("form", ["PARQUET", "CSV", "JSON", "XLSX"])
def test_an_empty_table_has_a_file_too(form: str) -> None:
    assert build(form, table(ROWS.slice(0, 0)))[0].startswith("people.")
