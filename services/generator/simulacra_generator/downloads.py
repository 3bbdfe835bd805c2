"""The file formats of a download: tables as PARQUET, CSV, JSON lines, or as the sheets of one XLSX workbook.

Every writer works batch by batch, so memory does not grow with a table.
"""

import base64
import datetime as dt
import decimal
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from simulacra.domain.text import file_stems, safe_file_name
from simulacra.errors import UnsupportedData

__all__ = ["EXTENSIONS", "XLSX_MAX_ROWS", "Table", "build_download", "xlsx_refusal"]

EXTENSIONS: Mapping[str, str] = {"PARQUET": "parquet", "CSV": "csv", "XLSX": "xlsx", "JSON": "jsonl"}
"""The file extension of each `SyntheticDatasetFormat`."""

XLSX_MAX_ROWS = 1_048_576
"""The rows of a spreadsheet, its header included."""

_XLSX_MAX_COLUMNS = 16_384
_XLSX_MAX_TEXT = 32_767
_EPOCH = (1980, 1, 1, 0, 0, 0)
_FORMULA_START = r"^[=+\-@\t\r]"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


@dataclass(frozen=True, slots=True)
class Table:
    """A table to write: its name, its Arrow schema, its rows in batches, and how many there are."""

    name: str
    schema: pa.Schema
    batches: Callable[[], Iterator[pa.RecordBatch]]
    rows: int


def build_download(
    sink: IO[bytes],
    tables: Sequence[Table],
    *,
    file_format: str,
    stem: str,
    neutralise_formulas: bool = False,
) -> str:
    """Writes one file of a `SyntheticDatasetFormat`; several tables become a ZIP archive, or XLSX sheets.

    Args:
        sink: Where the file goes; need not be seekable.
        tables: What to write.
        file_format: PARQUET, CSV, XLSX or JSON (lines).
        stem: The file's name without extension, when there are several tables.
        neutralise_formulas: Puts an apostrophe before text cells of CSV and XLSX that a spreadsheet would run
            as formulas.

    Returns:
        A name for the file.

    Raises:
        UnsupportedData: The format cannot hold a table.
    """
    if neutralise_formulas and file_format in ("CSV", "XLSX"):
        tables = [replace(table, batches=_neutralising(table.batches)) for table in tables]
    extension = EXTENSIONS[file_format]
    if file_format == "XLSX":
        _write_xlsx(sink, tables)
    elif len(tables) == 1:
        _STREAM_WRITERS[file_format](sink, tables[0])
    else:
        with zipfile.ZipFile(sink, "w", allowZip64=True) as archive:
            for name, table in _by_stem(tables):
                info = zipfile.ZipInfo(f"{name}.{extension}", _EPOCH)
                info.compress_type = zipfile.ZIP_STORED if file_format == "PARQUET" else zipfile.ZIP_DEFLATED
                with archive.open(info, "w", force_zip64=True) as entry:
                    _STREAM_WRITERS[file_format](entry, table)
        extension = "zip"
    return f"{safe_file_name(tables[0].name if len(tables) == 1 else stem)}.{extension}"


def _by_stem(tables: Sequence[Table]) -> Iterator[tuple[str, Table]]:
    return zip(file_stems(table.name for table in tables).values(), tables, strict=True)


def _write_parquet(sink: IO[bytes], table: Table) -> None:
    with pa.parquet.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        for batch in table.batches():
            writer.write_batch(batch)


def _write_csv(sink: IO[bytes], table: Table) -> None:
    fields = [(field.name, pa.string() if _needs_text(field.type) else field.type) for field in table.schema]
    flat = pa.schema(fields)
    with pa.csv.CSVWriter(sink, flat) as writer:
        for batch in table.batches():
            columns = [
                pa.array([_as_text(value) for value in column.to_pylist()], pa.string())
                if _needs_text(column.type)
                else column
                for column in batch.columns
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=flat))


def _write_json(sink: IO[bytes], table: Table) -> None:
    for batch in table.batches():
        lines = [json.dumps(row, default=_as_text, ensure_ascii=False) for row in _json_rows(batch)]
        sink.write("".join(f"{line}\n" for line in lines).encode())


def _json_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    for row in batch.to_pylist():
        # JSON has no NaN and no infinities: null, as everywhere else in this contract.
        yield {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


_STREAM_WRITERS: Mapping[str, Callable[[IO[bytes], Table], None]] = {
    "PARQUET": _write_parquet,
    "CSV": _write_csv,
    "JSON": _write_json,
}


def _write_xlsx(sink: IO[bytes], tables: Sequence[Table]) -> None:
    import xlsxwriter

    for table in tables:
        _require_sheet(table)
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(sink, {**options, "default_date_format": "yyyy-mm-dd hh:mm:ss"}) as book:
        for name, table in _by_stem(tables):
            sheet = book.add_worksheet(_sheet_name(book, name))
            for index, column in enumerate(table.schema.names):
                sheet.write_string(0, index, column)
            row_number = 0
            for batch in table.batches():
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    row_number += 1
                    for index, value in enumerate(row):
                        _write_cell(
                            sheet, row_number, index, value, f"{table.name}.{table.schema.names[index]}"
                        )


def xlsx_refusal(name: str, rows: int) -> UnsupportedData:
    """Makes the error for a table with more rows than a sheet holds."""
    return UnsupportedData(
        f'table "{name}" has {rows} rows, an XLSX sheet holds {XLSX_MAX_ROWS - 1}; use PARQUET or CSV',
        table=name,
    )


def _require_sheet(table: Table) -> None:
    if table.rows >= XLSX_MAX_ROWS:
        raise xlsx_refusal(table.name, table.rows)
    if len(table.schema) > _XLSX_MAX_COLUMNS:
        raise UnsupportedData(
            f'table "{table.name}" has {len(table.schema)} columns, XLSX holds {_XLSX_MAX_COLUMNS}; '
            "use PARQUET",
            table=table.name,
        )


def _sheet_name(book: Any, name: str) -> str:
    """Returns a name of at most 31 characters that the workbook does not have yet."""
    taken = {sheet.name.lower() for sheet in book.worksheets()}
    short = name[:31]
    number = 2
    while short.lower() in taken:
        short, number = f"{name[:27]}_{number}", number + 1
    return short


def _write_cell(sheet: Any, row: int, column: int, value: object, where: str) -> None:
    """Writes one cell; what a spreadsheet would round or refuse goes in as text."""
    match value:
        case None:
            return
        case bool():
            sheet.write_boolean(row, column, value)
        case int() if abs(value) < 10**15:
            sheet.write_number(row, column, value)
        case float() if math.isfinite(value):
            sheet.write_number(row, column, value)
        case decimal.Decimal() if value.is_finite() and len(value.as_tuple().digits) <= 15:
            sheet.write_number(row, column, float(value))
        case dt.datetime() if value.tzinfo is None and value.year >= 1900:
            sheet.write_datetime(row, column, value)
        case dt.date() if not isinstance(value, dt.datetime) and value.year >= 1900:
            sheet.write_datetime(row, column, value)
        case _:
            text = _as_text(value)
            if len(text) > _XLSX_MAX_TEXT:
                raise UnsupportedData(
                    f"{where} has a text of {len(text)} characters, an XLSX cell holds {_XLSX_MAX_TEXT}; "
                    "use PARQUET or CSV",
                    column=where,
                )
            sheet.write_string(row, column, text)


def _neutralising(batches: Callable[[], Iterator[pa.RecordBatch]]) -> Callable[[], Iterator[pa.RecordBatch]]:
    return lambda: (_neutralised(batch) for batch in batches())


def _neutralised(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [_neutralised_column(column) for column in batch.columns], schema=batch.schema
    )


def _neutralised_column(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        safe = _neutralised_column(column.dictionary)
        return pa.DictionaryArray.from_arrays(column.indices, safe).cast(column.type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    risky = pc.and_(
        pc.match_substring_regex(column, _FORMULA_START), pc.invert(pc.match_substring_regex(column, _NUMBER))
    )
    prefixed = pc.binary_join_element_wise(pa.scalar("'", column.type), column, pa.scalar("", column.type))
    return pc.if_else(risky, prefixed, column)


def _needs_text(kind: pa.DataType) -> bool:
    """Tells the types that Arrow's CSV writer refuses."""
    return bool(
        pa.types.is_nested(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_dictionary(kind)
        or _is_binary(kind)
    )


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    )


def _as_text(value: object) -> Any:
    match value:
        case None | str():
            return value
        case bytes():
            return base64.b64encode(value).decode()
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case list() | dict():
            return json.dumps(value, default=_as_text, ensure_ascii=False)
        case _:
            return str(value)
