"""A column on its way from a database to Arrow: without loss, or refused by name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from simulacra.domain import ModelEncodingType
from simulacra.errors import UnsupportedData

__all__ = ["ReadColumn", "decimal_type", "encoding_of", "read_schema"]

_MAX_PRECISION = 76
_FAILURES = (pa.ArrowException, OverflowError, ValueError, TypeError, UnicodeError)


@dataclass(frozen=True, slots=True)
class ReadColumn:
    """One column to read: the expression to select, and the Arrow type that its values become."""

    name: str
    expression: str
    type: pa.DataType
    wide: bool = field(default=False, kw_only=True)
    """Whether a value may be of many megabytes."""

    def convert(self, values: "Sequence[Any] | pa.Array[Any]") -> Any:
        """Makes an Arrow array of a driver's values, which may be text, or of a driver's own Arrow array.

        Raises:
            UnsupportedData: If a value is none of the type.
        """
        try:
            array: Any = values if isinstance(values, pa.Array | pa.ChunkedArray) else self._array(values)
            if isinstance(array, pa.ChunkedArray):
                array = array.combine_chunks()
            if isinstance(array, pa.ExtensionArray):
                array = array.storage
            return array if array.type == self.type else self._cast(array)
        except _FAILURES as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.refuse(f"holds a value that {self.type} cannot ({reason})")

    def refuse(self, why: str) -> NoReturn:
        """Raises UnsupportedData for this column."""
        raise UnsupportedData(
            f'column "{self.name}" {why}; leave the column out, or read a view that casts it',
            column=self.name,
        ) from None

    def _array(self, values: Sequence[Any]) -> Any:
        first = next((value for value in values if value is not None), None)
        if isinstance(first, str) and not pa.types.is_string(self.type):
            return pa.array(values, pa.string())
        return pa.array(values, self.type)

    def _cast(self, array: Any) -> Any:
        if pa.types.is_timestamp(self.type) and self.type.tz and pa.types.is_string(array.type):
            # The text of an instant is its time in UTC.
            return array.cast(pa.timestamp(self.type.unit)).cast(self.type)
        if pa.types.is_time(self.type) and pa.types.is_string(array.type):
            days: Any = pc.binary_join_element_wise(pa.scalar("1970-01-01"), array, " ")
            return days.cast(pa.timestamp(self.type.unit)).cast(self.type)
        return array.cast(self.type)


def decimal_type(precision: int, scale: int) -> pa.DataType:
    """Returns the narrowest decimal type with these digits.

    Raises:
        ValueError: If there is none.
    """
    if not 1 <= precision <= _MAX_PRECISION:
        raise ValueError(f"numbers of {precision} digits are too long")
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def encoding_of(type: pa.DataType | None) -> ModelEncodingType:
    """Returns the default encoding of a column of this type; None is one that cannot be read."""
    if type is not None and (
        pa.types.is_integer(type) or pa.types.is_floating(type) or pa.types.is_decimal(type)
    ):
        return ModelEncodingType.TABULAR_NUMERIC_AUTO
    if type is not None and (pa.types.is_date(type) or pa.types.is_timestamp(type)):
        return ModelEncodingType.TABULAR_DATETIME
    return ModelEncodingType.TABULAR_CATEGORICAL


def read_schema(columns: Sequence[ReadColumn]) -> pa.Schema:
    """Returns the schema of what the columns become."""
    return pa.schema([pa.field(column.name, column.type) for column in columns])
