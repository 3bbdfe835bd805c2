"""One connection to Snowflake."""

from collections.abc import Iterator
from typing import Any, ClassVar, cast

import pyarrow as pa
from snowflake.connector.constants import FIELD_ID_TO_NAME

from simulacra.errors import UnsupportedData
from simulacra_connector.drivers.snowflake.catalog import SnowflakeCatalog
from simulacra_connector.drivers.snowflake.link import SnowflakeLink
from simulacra_connector.drivers.sql import (
    Catalog,
    ColumnInfo,
    Dialect,
    Link,
    MeasuredMoment,
    ReadColumn,
    Relation,
    SqlSession,
    TableWriter,
    as_subquery,
    decimal_type,
    measure_sql,
    with_measures,
)

__all__ = ["SnowflakeSession"]

_DIALECT = Dialect(
    name="Snowflake",
    types={
        pa.bool_(): "BOOLEAN",
        pa.int8(): "NUMBER(3, 0)",
        pa.uint8(): "NUMBER(3, 0)",
        pa.int16(): "NUMBER(5, 0)",
        pa.uint16(): "NUMBER(5, 0)",
        pa.int32(): "NUMBER(10, 0)",
        pa.uint32(): "NUMBER(10, 0)",
        pa.int64(): "NUMBER(19, 0)",
        pa.uint64(): "NUMBER(20, 0)",
        pa.float32(): "FLOAT",
        pa.float64(): "FLOAT",
        pa.string(): "VARCHAR",
        pa.large_string(): "VARCHAR",
        pa.null(): "VARCHAR",
        pa.binary(): "BINARY",
        pa.large_binary(): "BINARY",
        pa.date32(): "DATE",
    },
    decimal=(38, "NUMBER({precision}, {scale})"),
    moment="TIMESTAMP_NTZ(6)",
    instant="TIMESTAMP_TZ(6)",
    time="TIME(6)",
)
_SIMPLE = {
    "float": pa.float64(),
    "real": pa.float64(),
    "text": pa.string(),
    "varchar": pa.string(),
    "boolean": pa.bool_(),
    "binary": pa.binary(),
    "date": pa.date32(),
}
_PRINTED = {
    "time": ("CAST({} AS VARCHAR)", pa.time64("ns")),
    "variant": ("TO_JSON({})", pa.string()),
    "object": ("TO_JSON({})", pa.string()),
    "array": ("TO_JSON({})", pa.string()),
}
_MOMENTS = {
    "timestamp_ntz": ("{}", None),
    "timestamp_ltz": ("CAST(CONVERT_TIMEZONE('UTC', {}) AS TIMESTAMP_NTZ)", "UTC"),
    "timestamp_tz": ("CAST(CONVERT_TIMEZONE('UTC', {}) AS TIMESTAMP_NTZ)", "UTC"),
}
_FRACTION = "DATE_PART(nanosecond, {}) % 1000"
_MICROSECOND_CHARACTERS = 26


class SnowflakeSession(SqlSession):
    """A session with Snowflake; see `Session`. Each statement is a snapshot of its own."""

    dialect: ClassVar[Dialect] = _DIALECT
    estimates_are_exact: ClassVar[bool] = True

    def open_link(self, *, writing: bool) -> Link:
        """Connects."""
        del writing
        return SnowflakeLink(self._parameters, self._options)

    def make_catalog(self, link: Link) -> Catalog:
        """Reads the information schema."""
        return SnowflakeCatalog(link, self.dialect)

    def version(self) -> str:
        """Asks for the server's version."""
        [(version,)] = self._link.fetch("SELECT CURRENT_VERSION()")
        return f"Snowflake {version}"

    def read_column(self, column: ColumnInfo) -> ReadColumn:
        """Plans a table's column: numbers exactly, moments to the digit, semi-structured values as JSON."""
        quoted = self.dialect.quote(column.name)
        if column.type in _SIMPLE:
            return ReadColumn(column.name, quoted, _SIMPLE[column.type])
        if column.type in ("number", "fixed", "decimal"):
            precision, scale = column.precision or 38, column.scale or 0
            if scale == 0 and precision <= 18:
                return ReadColumn(column.name, quoted, pa.int32() if precision <= 9 else pa.int64())
            return ReadColumn(column.name, quoted, decimal_type(precision, scale))
        if column.type in _PRINTED:
            expression, type = _PRINTED[column.type]
            return ReadColumn(column.name, expression.format(quoted), type)
        if column.type in _MOMENTS:
            template, zone = _MOMENTS[column.type]
            value = template.format(quoted)
            printed = f"CAST({value} AS VARCHAR)"
            coarse = f"LEFT({printed}, {_MICROSECOND_CHARACTERS})"
            return MeasuredMoment(column.name, printed, pa.timestamp("ns", zone), value, coarse)
        raise UnsupportedData(
            f'column "{column.name}" has type {column.original}, which has no lossless form; leave it out, '
            "or read a view that casts it",
            column=column.name,
        )

    def measured(self, source: str, columns: list[ReadColumn]) -> list[ReadColumn]:
        """Finds out which moments need nanoseconds."""
        sql = measure_sql(columns, fraction=_FRACTION)
        if not sql:
            return columns
        [measures] = self._link.fetch(self.dialect.select(sql, source), seconds=self._options.read_timeout)
        return with_measures(columns, measures)

    def subquery(self, statement: str) -> str:
        """No session of Snowflake only reads: a query must be a derived table, and the only statement."""
        return as_subquery(statement, quotes="'\"", backslashes=True)

    def describe(self, subquery: str) -> list[ReadColumn]:
        """Has the server compile the query; its moments stay text, for nobody has measured them."""
        described = cast("SnowflakeLink", self._link).describe(f'SELECT * FROM {subquery} "query"')
        columns = [self.read_column(_info(column)) for column in described]
        return [
            ReadColumn(column.name, column.expression, pa.string())
            if isinstance(column, MeasuredMoment)
            else column
            for column in columns
        ]

    def sample(self, relation: Relation, share: float, seed: int) -> str | None:
        """Has the server draw rows; with a seed it does so from tables only."""
        if not relation.is_table:
            return None
        return f"{self.source(relation)} SAMPLE BERNOULLI ({share * 100:.6f}) SEED ({seed})"

    def writer(self, link: Link) -> TableWriter:
        """Array binding, which the connector turns into files on a stage; see `SnowflakeWriter`."""
        return SnowflakeWriter(link, self.dialect, self.make_catalog(link))


class SnowflakeWriter(TableWriter):
    """Binds long arrays; keys are declared, and nobody checks them."""

    insert_rows: ClassVar[int] = 100_000

    def insert(self, sql: str, records: list[tuple[Any, ...]]) -> None:
        """Binds times as text, which Snowflake reads into any of its kinds of time."""
        super().insert(sql, [tuple(_bound(row)) for row in records])


def _bound(row: tuple[Any, ...]) -> Iterator[Any]:
    for value in row:
        plain = value is None or isinstance(value, str | int | float | bytes)
        yield value if plain else str(value)


def _info(column: Any) -> ColumnInfo:
    type = FIELD_ID_TO_NAME[column.type_code].lower()
    return ColumnInfo(column.name, type, type.upper(), precision=column.precision, scale=column.scale)
