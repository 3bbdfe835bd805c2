"""Maps SQL Server's types to Arrow's and back without loss."""

import pyarrow as pa

from simulacra.errors import UnsupportedData
from simulacra_connector.drivers.sql import ColumnInfo, Dialect, MeasuredMoment, ReadColumn, decimal_type

__all__ = ["DIALECT", "FRACTION", "read_column"]

DIALECT = Dialect(
    name="SQL Server",
    types={
        pa.bool_(): "bit",
        pa.int8(): "smallint",
        pa.uint8(): "tinyint",
        pa.int16(): "smallint",
        pa.uint16(): "int",
        pa.int32(): "int",
        pa.uint32(): "bigint",
        pa.int64(): "bigint",
        pa.uint64(): "decimal(20, 0)",
        pa.float32(): "real",
        pa.float64(): "float(53)",
        pa.string(): "nvarchar(max)",
        pa.large_string(): "nvarchar(max)",
        pa.null(): "nvarchar(max)",
        pa.binary(): "varbinary(max)",
        pa.large_binary(): "varbinary(max)",
        pa.date32(): "date",
    },
    moment="datetime2(6)",
    instant="datetimeoffset(6)",
    time="time(6)",
    key_text="nvarchar(400)",
    quotes=("[", "]"),
    limit="TOP",
    count="COUNT_BIG(*)",
)

_SIMPLE = {
    "tinyint": pa.int16(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "bit": pa.bool_(),
    "real": pa.float32(),
    "float": pa.float64(),
    "date": pa.date32(),
    "nchar": pa.string(),
    "nvarchar": pa.string(),
    "binary": pa.binary(),
    "varbinary": pa.binary(),
}
# What the server prints exactly: the expression, with the column in place of {}.
_PRINTED: dict[str, tuple[str, pa.DataType]] = {
    "money": ("CAST({} AS decimal(19, 4))", pa.decimal128(19, 4)),
    "smallmoney": ("CAST({} AS decimal(10, 4))", pa.decimal128(10, 4)),
    "datetime": ("CONVERT(varchar(23), {}, 121)", pa.timestamp("us")),
    "smalldatetime": ("CONVERT(varchar(23), {}, 121)", pa.timestamp("us")),
    "time": ("CONVERT(varchar(16), CAST({} AS time(7)), 121)", pa.time64("ns")),
    "uniqueidentifier": ("LOWER(CAST({} AS varchar(36)))", pa.string()),
    "ntext": ("CAST({} AS nvarchar(max))", pa.string()),
    "text": ("CAST({} AS nvarchar(max))", pa.string()),
    "xml": ("CAST({} AS nvarchar(max))", pa.string()),
    "json": ("CAST({} AS nvarchar(max))", pa.string()),
    "image": ("CAST({} AS varbinary(max))", pa.binary()),
    "timestamp": ("CAST({} AS binary(8))", pa.binary()),
    "rowversion": ("CAST({} AS binary(8))", pa.binary()),
    "hierarchyid": ("{}.ToString()", pa.string()),
}
_TEXTS = ("char", "varchar")
_MOMENTS = {"datetime2": "{}", "datetimeoffset": "SWITCHOFFSET({}, '+00:00')"}
_MOST_CHARACTERS = 4000
_MICROSECONDS = 6
FRACTION = "DATEPART(nanosecond, {}) % 1000"
"""What a moment has beyond its microseconds."""


def read_column(column: ColumnInfo, *, measure: bool = True) -> ReadColumn:
    """Plans how to read a column.

    `measure` says whether its values can be looked at first; if not, times of 100 nanoseconds stay text.

    Raises:
        UnsupportedData: If the type has no lossless form.
    """
    quoted = DIALECT.quote(column.name)
    if column.type in _SIMPLE:
        return ReadColumn(column.name, quoted, _SIMPLE[column.type])
    if column.type in ("decimal", "numeric"):
        return ReadColumn(column.name, quoted, decimal_type(column.precision or 18, column.scale or 0))
    if column.type in _PRINTED:
        expression, type = _PRINTED[column.type]
        return ReadColumn(column.name, expression.format(quoted), type)
    if column.type in _TEXTS:
        # The server knows the code page of a column.
        fits = column.length is not None and 0 < column.length <= _MOST_CHARACTERS
        return ReadColumn(
            column.name, f"CAST({quoted} AS nvarchar({column.length if fits else 'max'}))", pa.string()
        )
    if column.type in _MOMENTS:
        return _moment(column, measure)
    raise UnsupportedData(
        f'column "{column.name}" has type {column.original}, which has no lossless form; leave it out, '
        "or read a view that casts it",
        column=column.name,
    )


def _moment(column: ColumnInfo, measure: bool) -> ReadColumn:
    value = _MOMENTS[column.type].format(DIALECT.quote(column.name))
    zone = "UTC" if column.type == "datetimeoffset" else None
    digits = 7 if column.scale is None else column.scale
    coarse = _printed(value, _MICROSECONDS)
    if digits <= _MICROSECONDS:
        return ReadColumn(column.name, coarse, pa.timestamp("us", zone))
    if not measure:
        return ReadColumn(
            column.name, f"CONVERT(varchar(34), {DIALECT.quote(column.name)}, 121)", pa.string()
        )
    moment = f"CAST({value} AS datetime2(7))"
    return MeasuredMoment(column.name, _printed(value, 7), pa.timestamp("ns", zone), moment, coarse)


def _printed(value: str, digits: int) -> str:
    return f"CONVERT(varchar(27), CAST({value} AS datetime2({digits})), 121)"
