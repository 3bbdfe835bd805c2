"""Rows of Arrow batches as Python values, for drivers that bind them."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from simulacra.errors import UnsupportedData

__all__ = ["batches_of", "exact_batch", "python_rows"]


def exact_batch(batch: pa.RecordBatch, *, database: str, nanoseconds: bool = False) -> pa.RecordBatch:
    """Returns the batch in types that every driver takes: no dictionaries, and microseconds.

    Raises:
        UnsupportedData: If a column holds nanoseconds, NaN or an infinity that the database cannot.
    """
    arrays = [
        _exact(name, array, database, nanoseconds)
        for name, array in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def python_rows(batch: pa.RecordBatch, *, database: str, not_a_number: bool = False) -> list[tuple[Any, ...]]:
    """Returns the rows as tuples of Python values.

    Raises:
        UnsupportedData: If a column holds what the database cannot.
    """
    exact = exact_batch(batch, database=database)
    columns = [
        _python_values(name, array, database)
        for name, array in zip(exact.schema.names, exact.columns, strict=True)
    ]
    if not not_a_number:
        for name, array, values in zip(exact.schema.names, exact.columns, columns, strict=True):
            if pa.types.is_floating(array.type) and any(v is not None and v - v != 0 for v in values):
                raise UnsupportedData(
                    f'column "{name}" holds NaN or an infinity, which {database} cannot', column=name
                )
    return list(zip(*columns, strict=True))


def _python_values(name: str, array: Any, database: str) -> list[Any]:
    try:
        values: list[Any] = array.to_pylist()
    except (ValueError, OverflowError) as error:  # such as days of the year 10000
        raise UnsupportedData(
            f'column "{name}" holds a value that cannot be written to {database} ({error}); leave it out',
            column=name,
        ) from None
    return values


def _exact(name: str, array: Any, database: str, nanoseconds: bool) -> Any:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    type = array.type
    if nanoseconds or getattr(type, "unit", "us") != "ns" or not pa.types.is_temporal(type):
        return array
    target = pa.time64("us") if pa.types.is_time(type) else pa.timestamp("us", type.tz)
    try:
        return array.cast(target)
    except pa.ArrowInvalid:
        raise UnsupportedData(
            f'column "{name}" holds nanoseconds, {database} keeps microseconds; round it first', column=name
        ) from None


def batches_of(rows: list[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Cuts rows into lists of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
