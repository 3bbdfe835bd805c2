"""Reads one column of several tables into plain arrays, so that every metric sees the same values.

The training table decides what a column is: numbers, points in time, or categories. The other tables are
coerced to that; what cannot be coerced counts as missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Column", "Kind", "as_table", "read_column"]

Chunked = Any  # pa.ChunkedArray, whose stubs want its element type


class Kind(StrEnum):
    """How a column is discretised and drawn."""

    NUMERIC = "NUMERIC"
    DATETIME = "DATETIME"
    CATEGORICAL = "CATEGORICAL"


@dataclass(frozen=True, slots=True)
class Column:
    """One column's values over all tables, one table after the other.

    `values` is float64 with NaN for missing (numbers; microseconds since 1970 for points in time), or, for
    categories, int32 positions in `categories` with -1 for missing. `integral` says that all numbers are
    whole.
    """

    name: str
    kind: Kind
    values: npt.NDArray[np.float64] | npt.NDArray[np.int32]
    categories: tuple[str, ...] = ()
    integral: bool = False

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """Whether each row's value is missing."""
        return self.values < 0 if self.kind is Kind.CATEGORICAL else np.isnan(self.values)


def as_table(data: pa.Table | pd.DataFrame) -> pa.Table:
    """Returns the data as an Arrow table; columns of mixed Python objects become text."""
    if isinstance(data, pa.Table):
        return data
    arrays: list[Any] = []
    for position in range(data.shape[1]):
        series = data.iloc[:, position]
        try:
            array = pa.Array.from_pandas(series)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            array = pa.Array.from_pandas(series.map(str, na_action="ignore"))
        arrays.append(array)
    return pa.table(arrays, names=[str(name) for name in data.columns])


def read_column(tables: Sequence[pa.Table], name: str) -> Column:
    """Reads the column of that name from all tables; the first table decides its kind."""
    arrays = [_plain(table.column(name)) for table in tables]
    kind = _kind_of(arrays[0].type)
    if kind is Kind.CATEGORICAL:
        text = pa.chunked_array(
            [chunk for array in arrays for chunk in _as_text(array).chunks], pa.large_string()
        )
        encoded: Any = pa.concat_arrays(text.chunks).dictionary_encode()
        codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int32)
        return Column(name, kind, codes, tuple(encoded.dictionary.to_pylist()))
    read = _as_numbers if kind is Kind.NUMERIC else _as_microseconds
    values = np.concatenate([read(array) for array in arrays])
    values[~np.isfinite(values)] = np.nan
    whole = kind is Kind.NUMERIC and bool(np.all((values == np.floor(values)) | np.isnan(values)))
    return Column(name, kind, values, integral=whole)


def _plain(column: Chunked) -> Chunked:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _kind_of(data_type: pa.DataType) -> Kind:
    t = pa.types
    if t.is_integer(data_type) or t.is_floating(data_type) or t.is_decimal(data_type):
        return Kind.NUMERIC
    if t.is_time(data_type) or t.is_duration(data_type):
        return Kind.NUMERIC
    if t.is_timestamp(data_type) or t.is_date(data_type):
        return Kind.DATETIME
    return Kind.CATEGORICAL


def _as_text(column: Chunked) -> Chunked:
    data_type = column.type
    if pa.types.is_nested(data_type) or pa.types.is_binary(data_type) or pa.types.is_large_binary(data_type):
        return pa.chunked_array(
            [[None if v is None else repr(v) for v in column.to_pylist()]], pa.large_string()
        )
    if pa.types.is_null(data_type):
        return pa.chunked_array([pa.nulls(len(column), pa.large_string())])
    text = column.cast(pa.large_string())
    # One chunk at least, so that the concatenation of all tables keeps its type.
    return text if text.num_chunks else pa.chunked_array([pa.array([], pa.large_string())])


def _as_numbers(column: Chunked) -> npt.NDArray[np.float64]:
    data_type = column.type
    if pa.types.is_time(data_type) or pa.types.is_duration(data_type):
        bits = pa.int32() if pa.types.is_time32(data_type) else pa.int64()
        column = column.cast(bits)
    elif _kind_of(data_type) is Kind.DATETIME or pa.types.is_nested(data_type):
        return np.full(len(column), np.nan)
    elif _kind_of(data_type) is Kind.CATEGORICAL and not pa.types.is_boolean(data_type):
        numbers = pd.to_numeric(_as_text(column).to_pandas(), errors="coerce")
        return np.asarray(numbers.to_numpy(np.float64, na_value=np.nan), np.float64)
    return np.array(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)


def _as_microseconds(column: Chunked) -> npt.NDArray[np.float64]:
    data_type = column.type
    if _kind_of(data_type) is Kind.NUMERIC or pa.types.is_boolean(data_type) or pa.types.is_nested(data_type):
        return np.full(len(column), np.nan)
    if _kind_of(data_type) is Kind.CATEGORICAL:
        parsed = pd.to_datetime(_as_text(column).to_pandas(), errors="coerce", utc=True, format="ISO8601")
        column = pa.chunked_array([pa.Array.from_pandas(parsed)])
    micros = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    return np.array(micros.cast(pa.float64(), safe=False).to_numpy(), np.float64)
