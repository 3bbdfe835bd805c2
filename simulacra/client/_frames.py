"""pandas in and out: frames become Parquet for the platform, Arrow tables become frames of the same types."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simulacra.client._frame_types import FRAME_TYPE, from_stored, to_arrow
from simulacra.errors import InvalidArgument, UnsupportedData

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FILE_FORMATS", "INLINE_LIMIT", "Source", "as_sources", "frame_of", "parquet_of", "table_name_of"]

INLINE_LIMIT = 1 << 20
"""Bytes of Parquet up to which a table travels inside its request; more goes through UploadService."""

FILE_FORMATS = (
    ".parquet",
    ".csv",
    ".csv.gz",
    ".tsv",
    ".jsonl",
    ".jsonl.gz",
    ".ndjson",
    ".json",
    ".feather",
    ".arrow",
)
"""The files that the platform reads, by their ending."""

# The days of Python's dates, of the years 1 to 9999, since 1970.
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896


@dataclass(frozen=True, slots=True)
class Source:
    """One table to train on: its bytes in memory, or a file that is read chunk by chunk."""

    name: str
    file_name: str
    data: bytes | Path

    @property
    def size(self) -> int:
        """The number of bytes."""
        return len(self.data) if isinstance(self.data, bytes) else self.data.stat().st_size


def parquet_of(frame: "pd.DataFrame | pa.Table", *, name: str) -> bytes:
    """Returns a frame as Parquet, its index dropped.

    Raises:
        UnsupportedData: If a column holds values of mixed types, or of one that Parquet cannot hold, or two
            columns have the same name.
    """
    names = frame.column_names if isinstance(frame, pa.Table) else [str(column) for column in frame.columns]
    twice = sorted({column for column in names if names.count(column) > 1})
    if twice:
        raise UnsupportedData(
            f'the frame "{name}" has two columns "{twice[0]}"; rename one', table=name, column=twice[0]
        )
    try:
        table = frame if isinstance(frame, pa.Table) else to_arrow(frame)
        buffer = BytesIO()
        pq.write_table(table, buffer, compression="zstd")
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        cause = "; ".join(str(part) for part in error.args) or type(error).__name__
        if isinstance(error, UnicodeError):  # its parts are the whole text, which cannot be printed
            cause = str(error)
        if not isinstance(frame, pa.Table):
            cause = _mixed(frame) or cause
        raise UnsupportedData(f'the frame "{name}" cannot be sent as Parquet: {cause}', table=name) from error
    return buffer.getvalue()


def _mixed(frame: "pd.DataFrame") -> str | None:
    """Says which column has values of several types; None if none has."""
    for name, column in frame.select_dtypes(object).items():
        kinds = sorted({type(value).__name__ for value in column.dropna()})
        if len(kinds) > 1:
            return (
                f'column "{name}" has values of the types {", ".join(kinds)}; make them one type, '
                f"for example text with astype(str)"
            )
    return None


def frame_of(table: pa.Table, *, nullable: Collection[str] = ()) -> "pd.DataFrame":
    """Returns an Arrow table as a frame; whole numbers and booleans with nulls become Int64 and boolean.

    Days are Python's dates; a column with one beyond the years 1 to 9999 is datetime64[s].

    Args:
        table: The rows.
        nullable: Columns that may have nulls, though these rows have none; their type is the same then.

    Raises:
        UnsupportedData: If a column has values that a frame cannot hold, such as lists of such days.
    """
    import pandas as pd

    for position, (field, column) in enumerate(zip(table.schema, table.columns, strict=True)):
        if _has_far_days(column):
            moments = field.with_type(pa.timestamp("s"))
            table = table.set_column(position, moments, column.cast(pa.timestamp("s")))

    # The schema's metadata knows the types of frames that were sent.
    try:
        frame: pd.DataFrame = table.to_pandas()
    except (ValueError, OverflowError, pa.ArrowException) as error:
        raise _not_for_frames(table, error) from error
    for field, column in zip(table.schema, table.columns, strict=True):
        stored = (field.metadata or {}).get(FRAME_TYPE)
        if stored is not None:
            frame[field.name] = from_stored(frame[field.name], stored.decode())
            continue
        name = _nullable_dtype(field.type)
        missing = column.null_count > 0 and frame[field.name].dtype.kind in "fO"
        if name and (missing or field.name in nullable):
            dtype: Any = pd.api.types.pandas_dtype(name)
            frame[field.name] = pd.Series(dtype.__from_arrow__(column), index=frame.index)
    return frame


def _has_far_days(column: "pa.ChunkedArray[Any]") -> bool:
    if not pa.types.is_date32(column.type) or column.null_count == len(column):
        return False
    extremes: Any = pc.min_max(column.cast(pa.int32())).as_py()
    return bool(extremes["min"] < _FIRST_DAY or extremes["max"] > _LAST_DAY)


def _not_for_frames(table: pa.Table, error: Exception) -> UnsupportedData:
    for field, column in zip(table.schema, table.columns, strict=True):
        try:
            column.to_pandas()
        except (ValueError, OverflowError, pa.ArrowException):
            return UnsupportedData(
                f'column "{field.name}" has values of type {field.type} that a frame cannot hold ({error}); '
                "leave the column out",
                column=field.name,
            )
    return UnsupportedData(f"the rows make no frame: {error}")


def _nullable_dtype(arrow_type: pa.DataType) -> str | None:
    if pa.types.is_boolean(arrow_type):
        return "boolean"
    if pa.types.is_integer(arrow_type):
        return str(arrow_type).replace("uint", "UInt").replace("int", "Int")
    return None


def table_name_of(path: Path) -> str:
    """Returns a file's name without folder and ending: `data/people.csv.gz` is the table `people`."""
    name = path.name
    for ending in (".gz", *FILE_FORMATS):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name or path.name


def _file_source(path: Path, name: str | None) -> Source:
    if path.is_dir():
        raise InvalidArgument.of("data", f'"{path}" is a folder; give its files')
    if not path.is_file():
        raise InvalidArgument.of("data", f'there is no file "{path}"')
    if not path.name.lower().endswith(FILE_FORMATS):
        known = ", ".join(FILE_FORMATS)
        raise InvalidArgument.of("data", f'"{path.name}" is none of the kinds that can be read: {known}')
    return Source(name or table_name_of(path), path.name, path)


def as_sources(data: object, *, name: str | None = None) -> list[Source]:
    """Returns the tables of a frame, an Arrow table, a path, or a mapping or list of them.

    Raises:
        InvalidArgument: If `data` is something else, a file does not exist, or two tables have the same name.
    """
    sources = list(_sources(data, name))
    names = [source.name for source in sources]
    twice = {table for table in names if names.count(table) > 1}
    if twice:
        raise InvalidArgument.of(
            "data", f'more than one table is called "{min(twice)}"; give a dict of name to table'
        )
    if not sources:
        raise InvalidArgument.of("data", "is empty; give at least one table")
    return sources


def _sources(data: object, name: str | None) -> Iterable[Source]:
    if isinstance(data, Mapping):
        for table_name, table in data.items():
            yield from _sources(table, str(table_name))
    elif isinstance(data, str | Path):
        yield _file_source(Path(data), name)
    elif isinstance(data, list | tuple):
        for item in data:
            yield from _sources(item, None)
    elif isinstance(data, pa.Table) or type(data).__name__ == "DataFrame":
        table = name or "data"
        yield Source(table, f"{table}.parquet", parquet_of(data, name=table))
    else:
        raise InvalidArgument.of(
            "data", f"give a DataFrame, an Arrow table, a path, or a dict of them, not {type(data).__name__}"
        )
