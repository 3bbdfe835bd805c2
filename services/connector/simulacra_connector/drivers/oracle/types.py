"""Maps Oracle's types to Arrow's and back without loss."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from simulacra.errors import UnsupportedData
from simulacra_connector.drivers.sql import ColumnInfo, Dialect, ReadColumn, decimal_type

__all__ = ["DIALECT", "measure_sql", "read_column", "with_measures"]

DIALECT = Dialect(
    name="Oracle",
    types={
        pa.bool_(): "NUMBER(1)",
        pa.int8(): "NUMBER(3)",
        pa.uint8(): "NUMBER(3)",
        pa.int16(): "NUMBER(5)",
        pa.uint16(): "NUMBER(5)",
        pa.int32(): "NUMBER(10)",
        pa.uint32(): "NUMBER(10)",
        pa.int64(): "NUMBER(19)",
        pa.uint64(): "NUMBER(20)",
        pa.float32(): "BINARY_FLOAT",
        pa.float64(): "BINARY_DOUBLE",
        # As a CLOB it could be neither compared nor indexed; a longer text is refused by the server, by name.
        pa.string(): "VARCHAR2(4000 CHAR)",
        pa.large_string(): "VARCHAR2(4000 CHAR)",
        pa.null(): "VARCHAR2(4000 CHAR)",
        pa.binary(): "BLOB",
        pa.large_binary(): "BLOB",
        pa.date32(): "DATE",
    },
    decimal=(38, "NUMBER({precision}, {scale})"),
    moment="TIMESTAMP(6)",
    instant="TIMESTAMP(6) WITH TIME ZONE",
    time=None,
    key_text="VARCHAR2(400 CHAR)",
    limit="FETCH",
    null="",
)

_SIMPLE = {
    "binary_float": pa.float32(),
    "binary_double": pa.float64(),
    "boolean": pa.bool_(),
    "varchar2": pa.string(),
    "nvarchar2": pa.string(),
    "char": pa.string(),
    "nchar": pa.string(),
    "clob": pa.string(),
    "nclob": pa.string(),
    "long": pa.string(),
    "raw": pa.binary(),
    "blob": pa.binary(),
    "long raw": pa.binary(),
}
_WIDE = ("clob", "nclob", "long", "blob", "long raw", "xmltype", "json")
# The sign of the year tells 44 BC from 44 AD; without it both look alike.
_SECONDS = "LTRIM(TO_CHAR({}, 'SYYYY-MM-DD HH24:MI:SS'))"
_FRACTIONS = "LTRIM(TO_CHAR({}, 'SYYYY-MM-DD HH24:MI:SS.FF{digits}'))"
_PRINTED = {
    "date": (_SECONDS, pa.timestamp("us")),
    "rowid": ("ROWIDTOCHAR({})", pa.string()),
    "urowid": ("TO_CHAR({})", pa.string()),
    "interval year to month": ("TO_CHAR({})", pa.string()),
    "interval day to second": ("TO_CHAR({})", pa.string()),
    "xmltype": ("XMLSERIALIZE(CONTENT {} AS CLOB)", pa.string()),
    "json": ("JSON_SERIALIZE({} RETURNING CLOB)", pa.string()),
}
_MOMENTS = {
    "timestamp": ("{}", None),
    "timestamp with time zone": ("SYS_EXTRACT_UTC({})", "UTC"),
    "timestamp with local time zone": ("SYS_EXTRACT_UTC({})", "UTC"),
}
_TEXT = "TO_CHAR({}, 'TM9', 'NLS_NUMERIC_CHARACTERS=''.,''')"
_MICROSECONDS = 6
_MOST_DIGITS = 76


def read_column(column: ColumnInfo, *, measure: bool = True) -> ReadColumn:
    """Plans how to read a column.

    `measure` says whether its values can be looked at first; if not, numbers of any precision stay text.

    Raises:
        UnsupportedData: If the type has no lossless form.
    """
    quoted = DIALECT.quote(column.name)
    if column.type in _SIMPLE:
        return ReadColumn(column.name, quoted, _SIMPLE[column.type], wide=column.type in _WIDE)
    if column.type in ("number", "float"):
        type = _number(column)
        if type is not None:
            return ReadColumn(column.name, quoted, type)
        expression = _TEXT.format(quoted)
        return ReadColumn(column.name, expression, pa.null() if measure else pa.string())
    if column.type in _PRINTED:
        expression, type = _PRINTED[column.type]
        return ReadColumn(column.name, expression.format(quoted), type, wide=column.type in _WIDE)
    if column.type in _MOMENTS:
        value, zone = _MOMENTS[column.type]
        fine = (column.scale if column.scale is not None else 6) > _MICROSECONDS
        printed = _FRACTIONS.format(value.format(quoted), digits=9 if fine else 6)
        return ReadColumn(column.name, printed, pa.timestamp("ns" if fine else "us", zone))
    raise UnsupportedData(
        f'column "{column.name}" has type {column.original}, which has no lossless form; leave it out, '
        "or read a view that casts it",
        column=column.name,
    )


def _number(column: ColumnInfo) -> pa.DataType | None:
    """Returns the type of numbers of a declared precision; None if the values must tell."""
    if column.type == "float" or not column.precision or column.scale is None:
        # An INTEGER has a scale but no precision: 38 digits.
        return decimal_type(38, 0) if column.type == "number" and column.scale == 0 else None
    precision, scale = column.precision, column.scale
    if scale < 0:
        precision, scale = precision - scale, 0
    if scale == 0 and precision <= 18:
        return pa.int32() if precision <= 9 else pa.int64()
    precision = max(precision, scale)
    return decimal_type(precision, scale) if precision <= _MOST_DIGITS else None


def measure_sql(columns: Sequence[ReadColumn]) -> str:
    """Returns the select list that measures numbers: their digits after the point, and before it."""
    parts: list[str] = []
    for column in columns:
        if pa.types.is_null(column.type):
            value = DIALECT.quote(column.name)
            fraction = _TEXT.format(f"ABS({value}) - TRUNC(ABS({value}))")
            whole = _TEXT.format(f"TRUNC(ABS({value}))")
            parts += [
                f"MAX(CASE WHEN {value} = TRUNC({value}) THEN 0 ELSE LENGTH({fraction}) - 1 END)",
                f"MAX(LENGTH({whole}))",
            ]
    return ", ".join(parts)


def with_measures(columns: Sequence[ReadColumn], measures: Sequence[Any]) -> list[ReadColumn]:
    """Returns the columns with the types that their measures ask for.

    Raises:
        UnsupportedData: If a column's numbers have more digits than any type.
    """
    values = iter(measures)
    measured: list[ReadColumn] = []
    for column in columns:
        if pa.types.is_null(column.type):
            scale, digits = int(next(values) or 0), int(next(values) or 1)
            if digits + scale > _MOST_DIGITS:
                column.refuse(f"holds numbers of more than {_MOST_DIGITS} digits")
            whole = scale == 0 and digits <= 18
            column = replace(column, type=pa.int64() if whole else decimal_type(digits + scale, scale))
        measured.append(column)
    return measured
