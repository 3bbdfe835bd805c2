"""Reads tables from local files, for use without a platform: Parquet, Feather, CSV, TSV, JSON lines.

Types come from the files where they have them. In text files whole columns of numbers, truth values and ISO
dates or times are read as such, and empty cells are missing; everything else stays text. Rows' labels that
pandas wrote without a name are left out.
"""

import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet

from simulacra.errors import InvalidArgument
from simulacra.frames import unnamed_index

__all__ = ["FILE_FORMATS", "read_table"]

_HEAD_BYTES = 1 << 16
_DELIMITERS = ",;\t|"


def read_table(path: str | Path, *, role: str = "path") -> pa.Table:
    """Reads the table in a file, by the format that its name says.

    Args:
        path: The file.
        role: What an error calls it, such as `training`.

    Raises:
        InvalidArgument: There is no such file, or it cannot be read as what its name says.
    """
    file = Path(path)
    if not file.exists():
        raise InvalidArgument.of(role, f'there is no file "{file}"')
    if file.is_dir():
        raise InvalidArgument.of(role, f'"{file}" is a folder; give a file')
    name = file.name.lower()
    read = next((reader for suffix, reader in _READERS.items() if name.endswith(suffix)), None)
    if read is None:
        known = ", ".join(FILE_FORMATS)
        raise InvalidArgument.of(role, f'"{file.name}" is none of the kinds that can be read: {known}')
    try:
        table = read(file)
    except (pa.ArrowException, gzip.BadGzipFile, UnicodeDecodeError, csv.Error, EOFError) as error:
        raise InvalidArgument.of(role, f'"{file.name}" cannot be read: {error}') from error
    table = table.drop_columns(unnamed_index(table.schema))
    if not table.num_columns:
        raise InvalidArgument.of(role, f'"{file.name}" has no columns')
    return table


def _parquet(file: Path) -> pa.Table:
    # One file: a folder's name such as `year=2020` above it adds no column.
    return pa.parquet.read_table(file, partitioning=None)


def _delimited(file: Path) -> pa.Table:
    with gzip.open(file) if file.name.lower().endswith(".gz") else file.open("rb") as source:
        head = source.read(_HEAD_BYTES).decode("utf-8-sig", errors="replace")
    if not head.strip():
        raise pa.ArrowInvalid("it is empty")
    with pa.input_stream(file, compression="detect") as source:
        table = pa.csv.read_csv(
            source,
            parse_options=pa.csv.ParseOptions(delimiter=_delimiter(head, file), newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(strings_can_be_null=True, null_values=_MISSING),
        )
    # As the platform names the columns of uploads.
    names = enumerate(table.column_names, start=1)
    return table.rename_columns([name.strip() or f"unnamed_{number}" for number, name in names])


# As the most used reader of CSV files has it, so that the same file gives the same table in both.
_MISSING: Final = [
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
    *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
]


def _delimiter(head: str, file: Path) -> str:
    """Returns what separates the names in the first line."""
    if ".tsv" in file.suffixes:
        return "\t"
    first = head.splitlines()[0]
    return max(_DELIMITERS, key=first.count)


def _json_lines(file: Path) -> pa.Table:
    with pa.input_stream(file, compression="detect") as source:
        return pa.json.read_json(source)


_READERS: Final[dict[str, Callable[[Path], Any]]] = {
    ".parquet": _parquet,
    ".pq": _parquet,
    ".feather": pa.feather.read_table,
    ".arrow": pa.feather.read_table,
    ".csv": _delimited,
    ".csv.gz": _delimited,
    ".tsv": _delimited,
    ".tsv.gz": _delimited,
    ".jsonl": _json_lines,
    ".jsonl.gz": _json_lines,
    ".ndjson": _json_lines,
}
FILE_FORMATS: Final = tuple(_READERS)
"""The endings of files that can be read."""
