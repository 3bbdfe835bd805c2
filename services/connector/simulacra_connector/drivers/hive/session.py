"""A session with Hive."""

from typing import Any, ClassVar, cast

import pyarrow as pa

from simulacra.errors import UnsupportedData
from simulacra_connector.drivers.hive.catalog import HiveCatalog, column_info
from simulacra_connector.drivers.hive.link import HiveLink
from simulacra_connector.drivers.hive.writing import DIALECT, HiveWriter
from simulacra_connector.drivers.sql import (
    Catalog,
    ColumnInfo,
    Dialect,
    Link,
    ReadColumn,
    SqlSession,
    TableWriter,
    as_subquery,
    decimal_type,
)

__all__ = ["HiveSession"]

_SIMPLE = {
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "varchar": pa.string(),
    "char": pa.string(),
}
_PRINTED = {
    # The protocol has no floats of 32 bits: as a double each is exact.
    "float": ("CAST({} AS DOUBLE)", pa.float32()),
    "date": ("CAST({} AS STRING)", pa.date32()),
    "timestamp": ("CAST({} AS STRING)", pa.timestamp("us")),
    "timestamp_ntz": ("CAST({} AS STRING)", pa.timestamp("us")),
}
_INTERVALS = ("interval_year_month", "interval_day_time")


class HiveSession(SqlSession):
    """A session with Hive; see `Session`. Each statement is a snapshot of its own."""

    dialect: ClassVar[Dialect] = DIALECT

    def open_link(self, *, writing: bool) -> Link:
        """Connects."""
        del writing
        return HiveLink(self._parameters, self._options)

    def make_catalog(self, link: Link) -> Catalog:
        """Asks with SHOW and DESCRIBE."""
        return HiveCatalog(link, self.dialect)

    def version(self) -> str:
        """Asks for the server's version."""
        [(version,)] = self._link.fetch("SELECT version()")
        return f"Hive {version}"

    def read_column(self, column: ColumnInfo) -> ReadColumn:
        """Plans a column; what nests arrives as the server's own JSON."""
        quoted = self.dialect.quote(column.name)
        if column.type in _SIMPLE:
            return ReadColumn(column.name, quoted, _SIMPLE[column.type])
        if column.type in _PRINTED:
            expression, type = _PRINTED[column.type]
            return ReadColumn(column.name, expression.format(quoted), type)
        if column.type == "decimal":
            type = decimal_type(column.precision or 10, column.scale or 0)
            return ReadColumn(column.name, f"CAST({quoted} AS STRING)", type)
        if column.type == "binary":
            return HexColumn(column.name, f"HEX({quoted})", pa.binary())
        if column.type in _INTERVALS:
            return ReadColumn(column.name, f"CAST({quoted} AS STRING)", pa.string())
        raise UnsupportedData(
            f'column "{column.name}" has type {column.original}, which has no lossless form; leave it out, '
            "or read a view that casts it",
            column=column.name,
        )

    def subquery(self, statement: str) -> str:
        """No session of Hive only reads: a query must be a derived table, and the only statement."""
        return as_subquery(statement, quotes="'\"`", backslashes=True)

    def describe(self, subquery: str) -> list[ReadColumn]:
        """Has the server run the query for none of its rows."""
        statement = f"SELECT * FROM {subquery} `query` LIMIT 0"
        described = cast("HiveLink", self._link).describe(statement)
        return [self.read_column(_info(column)) for column in described]

    def writer(self, link: Link) -> TableWriter:
        """Rows in statements; see `HiveWriter`."""
        return HiveWriter(link, self.dialect, self.make_catalog(link))


class HexColumn(ReadColumn):
    """A column of bytes that travels in hexadecimal digits, for the protocol takes bytes for text."""

    def convert(self, values: Any) -> Any:
        """Reads the digits."""
        return pa.array([None if value is None else bytes.fromhex(value) for value in values], self.type)


def _info(column: Any) -> ColumnInfo:
    name, type, _, _, precision, scale, *_ = column
    digits = f"({precision},{scale})" if str(type).upper() == "DECIMAL" else ""
    return column_info(str(name).rpartition(".")[2], f"{str(type).lower()}{digits}")
