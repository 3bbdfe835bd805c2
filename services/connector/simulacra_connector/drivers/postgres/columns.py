"""Maps PostgreSQL's types to Arrow's without loss: natively, as decimals, or as PostgreSQL's own text.

PostgreSQL prints every type so that it can read it back, so text is the lossless fallback. What neither form
can hold (infinite dates, NaN in a decimal, arrays of several dimensions) is refused, with the column's name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from simulacra.errors import UnsupportedData
from simulacra_connector.drivers.postgres.catalog import quote

__all__ = ["ReadColumn", "measure_sql", "read_columns", "with_measures"]

_TIMESTAMP = pa.timestamp("us")
_NATIVE: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "text": pa.string(),
    "varchar": pa.string(),
    "bpchar": pa.string(),
    "name": pa.string(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": _TIMESTAMP,
    "timestamptz": pa.timestamp("us", tz="UTC"),
}
_LISTS = {f"_{name}": pa.list_(type) for name, type in _NATIVE.items()}
_TYPMOD_HEADER = 4
_MAX_PRECISION = 76
_MICROSECONDS_OF_A_DAY = 86_400_000_000
# PostgreSQL's earliest day and microsecond (4713 BC); what lies before is an infinity, negative or wrapped.
_EARLIEST = {pa.date32(): -2_440_588, _TIMESTAMP: -210_866_803_200_000_000}
_LATEST = {pa.date32(): 2_145_042_541, _TIMESTAMP: 9_223_371_331_200_000_000}


@dataclass(frozen=True, slots=True)
class ReadColumn:
    """One column to read: the expression to select, and the Arrow type that it becomes."""

    name: str
    expression: str
    type: pa.DataType
    measured: bool = False
    """Whether the type depends on the values: a numeric without precision has the digits of its largest."""

    def convert(self, array: "pa.Array[Any]") -> "pa.Array[Any]":
        """Gives the driver's array the column's type.

        Raises:
            UnsupportedData: If a value does not fit without loss.
        """
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        if array.type != self.type:
            try:
                array = array.cast(self.type)
            except pa.ArrowInvalid:
                self.refuse(f"holds a value, such as NaN, that {self.type} cannot")
        self._check_range(array)
        return array

    def _check_range(self, array: "pa.Array[Any]") -> None:
        if pa.types.is_time(array.type) and (_largest(array) or 0) >= _MICROSECONDS_OF_A_DAY:
            self.refuse("holds 24:00, which is no time of day")
        unzoned = _TIMESTAMP if pa.types.is_timestamp(array.type) else array.type
        if unzoned in _EARLIEST and len(array) > array.null_count:
            numbers = array.view(pa.int32() if pa.types.is_date32(array.type) else pa.int64())
            extremes: Any = pc.min_max(numbers).as_py()
            if extremes["min"] < _EARLIEST[unzoned] or extremes["max"] > _LATEST[unzoned]:
                self.refuse("holds an infinite date or time")

    def refuse(self, why: str) -> NoReturn:
        """Raises UnsupportedData for this column."""
        raise UnsupportedData(
            f'column "{self.name}" {why}; leave the column out, or read a view that casts it',
            column=self.name,
        )


def _largest(times: Any) -> int | None:
    largest: int | None = pc.max(times.view(pa.int64())).as_py()
    return largest


def read_columns(described: pa.Schema, wanted: Sequence[str], *, measure: bool = True) -> list[ReadColumn]:
    """Plans how to read columns, given the driver's description of a statement.

    `measure` says whether the statement can be run twice, so that numerics of unknown precision can be
    measured; otherwise they are read as text.
    """
    return [_read_column(described.field(name), measure) for name in wanted]


def _read_column(field: "pa.Field[Any]", measure: bool) -> ReadColumn:
    metadata: dict[bytes, bytes] = field.metadata or {}
    type_name = metadata.get(b"POSTGRESQL:type", b"").decode()
    column = quote(field.name)
    if native := _NATIVE.get(type_name):
        return ReadColumn(field.name, column, native)
    if type_name in ("oid", "xid"):
        return ReadColumn(field.name, f"{column}::text::int8", pa.int64())
    if type_name in _LISTS and measure:
        return ReadColumn(field.name, column, _LISTS[type_name], measured=True)
    if type_name == "numeric":
        typmod = int(metadata.get(b"POSTGRESQL:typmod", b"-1"))
        if typmod >= _TYPMOD_HEADER:
            return ReadColumn(field.name, column, _decimal_of(typmod))
    if type_name in ("numeric", "money") and measure:
        return ReadColumn(field.name, f"{column}::numeric", pa.decimal128(38, 0), measured=True)
    return ReadColumn(field.name, f"{column}::text", pa.string())


def _decimal_of(typmod: int) -> pa.DataType:
    packed = typmod - _TYPMOD_HEADER
    precision, scale = packed >> 16, ((packed & 0x7FF) ^ 1024) - 1024
    return _decimal(precision - scale, scale) or pa.string()


def _decimal(integer_digits: int, scale: int) -> pa.DataType | None:
    """Returns the smallest decimal type for the digits before and after the point; None if there is none."""
    scale = max(scale, 0)
    precision = max(integer_digits, 0) + scale or 1
    if precision > _MAX_PRECISION:
        return None
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def measure_sql(columns: Sequence[ReadColumn]) -> str:
    """Returns the select list that measures columns: the row count, then two values for each measured one."""
    parts = ["count(*)"]
    for column in (column for column in columns if column.measured):
        value = column.expression
        if pa.types.is_list(column.type):
            parts += [f"max(array_ndims({value}))", f"max(abs(array_lower({value}, 1) - 1))"]
        else:
            endless = f"{value} IN ('NaN', 'Infinity', '-Infinity')"
            digits = f"length(trunc(abs({value}))::text)"
            parts += [f"max(scale({value}))", f"max(CASE WHEN {endless} THEN 1000 ELSE {digits} END)"]
    return ", ".join(parts)


def with_measures(columns: Sequence[ReadColumn], measures: Sequence[Any]) -> list[ReadColumn]:
    """Returns the columns with the types that their measures ask for.

    Raises:
        UnsupportedData: If a column's values do not fit any Arrow type.
    """
    values = iter(measures)
    return [
        _measured(column, next(values), next(values)) if column.measured else column for column in columns
    ]


def _measured(column: ReadColumn, first: int | None, second: int | None) -> ReadColumn:
    if pa.types.is_list(column.type):
        if (first or 1) > 1 or second:
            column.refuse("holds arrays of several dimensions or with another lower bound than 1")
        return column
    decimal = _decimal(second or 1, first or 0)
    if decimal is None:
        column.refuse(f"holds NaN, an infinity, or numbers of more than {_MAX_PRECISION} digits")
    return replace(column, type=decimal)
