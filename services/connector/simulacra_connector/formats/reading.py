"""Opens a file from outside by the format that its name says."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath, PureWindowsPath

import pyarrow as pa

from simulacra.errors import InvalidArgument
from simulacra_connector.formats.columnar import ColumnarFile
from simulacra_connector.formats.delimited import CsvFile
from simulacra_connector.formats.jsonlines import JsonLinesFile
from simulacra_connector.formats.limits import FileLimits
from simulacra_connector.formats.text import plain_text

__all__ = ["FileContent", "FileFormat", "FileLimits", "base_name", "format_of", "open_file"]


class FileFormat(StrEnum):
    """The formats of files that are read."""

    PARQUET = "parquet"
    FEATHER = "feather"
    CSV = "csv"
    TSV = "tsv"
    JSON_LINES = "jsonl"


_SUFFIXES = {
    ".parquet": FileFormat.PARQUET,
    ".pq": FileFormat.PARQUET,
    ".feather": FileFormat.FEATHER,
    ".arrow": FileFormat.FEATHER,
    ".csv": FileFormat.CSV,
    ".csv.gz": FileFormat.CSV,
    ".tsv": FileFormat.TSV,
    ".tsv.gz": FileFormat.TSV,
    ".jsonl": FileFormat.JSON_LINES,
    ".jsonl.gz": FileFormat.JSON_LINES,
    ".ndjson": FileFormat.JSON_LINES,
    ".json": FileFormat.JSON_LINES,
}


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file's schema and, once, its rows."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    rows: int | None = None
    """The number of rows, where it is known before reading them."""


def base_name(file_name: str) -> str:
    """Returns a file's name without any folder, whichever system's path it is."""
    return PurePath(PureWindowsPath(file_name).name).name


def format_of(file_name: str) -> FileFormat:
    """Returns the format that a file's name says.

    Raises:
        InvalidArgument: If its suffix is of no known format.
    """
    name = base_name(file_name).lower()
    for suffix, format in _SUFFIXES.items():
        if name.endswith(suffix) and name != suffix:
            return format
    raise InvalidArgument.of("file_name", f"{file_name!r} ends in none of {', '.join(_SUFFIXES)}")


def open_file(path: Path, *, file_name: str, limits: FileLimits, scratch: Path) -> FileContent:
    """Opens a file; `scratch` is an empty folder for its unpacked form.

    Raises:
        CorruptUpload: If it is not of the format that its name says; also raised by the batches.
        UnsupportedData: If a column cannot be stored without loss.
        LimitExceeded: If it unpacks to too much.
    """
    format = format_of(file_name)
    content: ColumnarFile | CsvFile | JsonLinesFile
    if format in (FileFormat.PARQUET, FileFormat.FEATHER):
        parquet = format is FileFormat.PARQUET
        content = ColumnarFile(path, file_name=file_name, limits=limits, parquet=parquet)
    else:
        text = plain_text(path, file_name=file_name, limits=limits, scratch=scratch)
        if format is FileFormat.JSON_LINES:
            content = JsonLinesFile(text, file_name=file_name, limits=limits)
        else:
            content = CsvFile(text, file_name=file_name, limits=limits, tabs=format is FileFormat.TSV)
    return FileContent(content.schema, content.batches(), content.rows)
