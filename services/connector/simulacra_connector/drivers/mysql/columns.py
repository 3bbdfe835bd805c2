"""Maps MySQL's types to Arrow's without loss, or refuses a column by name.

The server says what a result's columns are; each is read as text, in an expression that prints it exactly.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pymysql.constants import FIELD_TYPE, FLAG

from simulacra.errors import UnsupportedData

__all__ = ["ReadColumn", "quote", "read_column"]

_BINARY_CHARSET = 63
_SIGNED = {
    FIELD_TYPE.TINY: pa.int8(),
    FIELD_TYPE.SHORT: pa.int16(),
    FIELD_TYPE.INT24: pa.int32(),
    FIELD_TYPE.LONG: pa.int32(),
    FIELD_TYPE.LONGLONG: pa.int64(),
    FIELD_TYPE.YEAR: pa.int16(),
}
_UNSIGNED = {
    FIELD_TYPE.TINY: pa.int16(),
    FIELD_TYPE.SHORT: pa.int32(),
    FIELD_TYPE.INT24: pa.int32(),
    FIELD_TYPE.LONG: pa.int64(),
    FIELD_TYPE.LONGLONG: pa.uint64(),
    FIELD_TYPE.YEAR: pa.int16(),
}
_OTHERS = {
    FIELD_TYPE.DOUBLE: pa.float64(),
    FIELD_TYPE.DATE: pa.date32(),
    FIELD_TYPE.NEWDATE: pa.date32(),
    FIELD_TYPE.DATETIME: pa.timestamp("us"),
    # The session's time zone is UTC, so that the text of a TIMESTAMP is its instant.
    FIELD_TYPE.TIMESTAMP: pa.timestamp("us", "UTC"),
    FIELD_TYPE.TIME: pa.string(),  # up to 838 hours, which is no time of day
    FIELD_TYPE.NULL: pa.string(),
}
_MAX_PRECISION = 76


def quote(name: str) -> str:
    """Quotes an identifier."""
    return "`" + name.replace("`", "``") + "`"


@dataclass(frozen=True, slots=True)
class ReadColumn:
    """One column to read: the expression to select, and the Arrow type that its text becomes."""

    name: str
    expression: str
    type: pa.DataType

    def convert(self, cells: pa.BinaryArray) -> Any:
        """Makes a column of the server's text.

        Raises:
            UnsupportedData: If a value, such as the date 0000-00-00, is none in Arrow.
        """
        if self.type == pa.binary():
            return cells
        try:
            texts = cells.cast(pa.string())
            if pa.types.is_timestamp(self.type) and self.type.tz:
                return texts.cast(pa.timestamp("us")).cast(self.type)
            return texts.cast(self.type)
        except pa.ArrowInvalid as error:
            raise UnsupportedData(
                f'column "{self.name}" holds a value that {self.type} cannot ({str(error).splitlines()[0]}); '
                "leave the column out, or read a view that casts it",
                column=self.name,
            ) from error


def read_column(field: Any) -> ReadColumn:
    """Plans how to read a column, given the server's description of it.

    Raises:
        UnsupportedData: If the type has no lossless form.
    """
    column, code, flags = quote(field.name), field.type_code, field.flags
    if flags & (FLAG.ENUM | FLAG.SET):
        return ReadColumn(field.name, column, pa.string())
    if code in _SIGNED:
        return ReadColumn(field.name, column, (_UNSIGNED if flags & FLAG.UNSIGNED else _SIGNED)[code])
    if code == FIELD_TYPE.FLOAT:
        # Printed as it is, a FLOAT has six digits.
        return ReadColumn(field.name, f"CAST({column} AS DOUBLE)", pa.float32())
    if code == FIELD_TYPE.BIT:
        return ReadColumn(field.name, f"CAST({column} AS UNSIGNED)", pa.uint64())
    if code in (FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL):
        return ReadColumn(field.name, column, _decimal(field))
    if code in _OTHERS:
        return ReadColumn(field.name, column, _OTHERS[code])
    if code == FIELD_TYPE.GEOMETRY:
        raise UnsupportedData(
            f'column "{field.name}" holds geometry; leave it out, or read a view with ST_AsText',
            column=field.name,
        )
    binary = field.charsetnr == _BINARY_CHARSET and code != FIELD_TYPE.JSON
    return ReadColumn(field.name, column, pa.binary() if binary else pa.string())


def _decimal(field: Any) -> pa.DataType:
    # The length counts the sign, which unsigned decimals do not have, and the point.
    precision = field.length - (0 if field.flags & FLAG.UNSIGNED else 1) - (1 if field.scale else 0)
    precision = min(max(precision, field.scale, 1), _MAX_PRECISION)
    make = pa.decimal128 if precision <= 38 else pa.decimal256
    return make(precision, field.scale)
