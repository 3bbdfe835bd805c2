"""The few ways in which the SQL that we write differs from database to database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from simulacra.errors import UnsupportedData

__all__ = ["Dialect"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one database quotes, limits, counts and names types."""

    name: str
    types: Mapping[pa.DataType, str]
    """SQL types of Arrow types that have no parameters."""
    decimal: tuple[int, str] = (38, "decimal({precision}, {scale})")
    """The most digits of a decimal, and its SQL type."""
    moment: str = "timestamp"
    instant: str | None = "timestamp with time zone"
    time: str | None = "time"
    nanoseconds: bool = False
    """Whether times keep nanoseconds; otherwise microseconds."""
    key_text: str | None = None
    """The SQL type of text in a key, where the one for other text is too long for that."""
    quotes: tuple[str, str] = ('"', '"')
    limit: Literal["LIMIT", "TOP", "FETCH"] = "LIMIT"
    count: str = "COUNT(*)"
    null: str = " NULL"
    """What says that a new column may be null, where that is not understood."""

    def quote(self, *names: str) -> str:
        """Quotes identifiers, and joins them with dots."""
        start, end = self.quotes
        return ".".join(start + name.replace(end, end * 2) + end for name in names)

    def names(self, names: Any) -> str:
        """Quotes a list of columns."""
        return ", ".join(self.quote(name) for name in names)

    def select(self, columns: str, source: str, limit: int | None = None) -> str:
        """Returns a SELECT of at most `limit` rows."""
        if limit is None:
            return f"SELECT {columns} FROM {source}"
        match self.limit:
            case "TOP":
                return f"SELECT TOP ({limit}) {columns} FROM {source}"
            case "FETCH":
                return f"SELECT {columns} FROM {source} FETCH FIRST {limit} ROWS ONLY"
        return f"SELECT {columns} FROM {source} LIMIT {limit}"

    def sql_type(self, column: "pa.Field[Any]", *, key: bool = False) -> str:
        """Returns the SQL type for a column to write.

        Raises:
            UnsupportedData: If the database has none that keeps every value.
        """
        type: Any = column.type
        if pa.types.is_dictionary(type):
            type = type.value_type
        if key and self.key_text is not None and (pa.types.is_string(type) or pa.types.is_large_string(type)):
            return self.key_text
        if type in self.types:
            return self.types[type]
        digits, text = self.decimal
        if pa.types.is_decimal(type) and type.precision <= digits and 0 <= type.scale <= type.precision:
            return text.format(precision=type.precision, scale=type.scale)
        if pa.types.is_timestamp(type):
            found = self.instant if type.tz else self.moment
        else:
            found = self.time if pa.types.is_time(type) else None
        if found is None:
            raise UnsupportedData(
                f'column "{column.name}" has type {type}, which cannot be written to {self.name}; '
                "convert it first",
                column=column.name,
            )
        return found
