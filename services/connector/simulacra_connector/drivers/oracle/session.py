"""One connection to Oracle: a read-only transaction, so what it reads is one snapshot."""

from typing import Any, ClassVar, cast

import oracledb

from simulacra_connector.drivers.oracle.catalog import OracleCatalog
from simulacra_connector.drivers.oracle.link import OracleLink
from simulacra_connector.drivers.oracle.types import DIALECT, measure_sql, read_column, with_measures
from simulacra_connector.drivers.oracle.writing import OracleWriter
from simulacra_connector.drivers.sql import (
    Catalog,
    ColumnInfo,
    Dialect,
    Link,
    ReadColumn,
    Relation,
    SqlSession,
    TableWriter,
)

__all__ = ["OracleSession"]

# What the driver calls the types of a query's columns.
_NAMES = {
    "DB_TYPE_NUMBER": "number",
    "DB_TYPE_BINARY_INTEGER": "number",
    "DB_TYPE_VARCHAR": "varchar2",
    "DB_TYPE_NVARCHAR": "nvarchar2",
    "DB_TYPE_TIMESTAMP_TZ": "timestamp with time zone",
    "DB_TYPE_TIMESTAMP_LTZ": "timestamp with local time zone",
    "DB_TYPE_INTERVAL_DS": "interval day to second",
    "DB_TYPE_INTERVAL_YM": "interval year to month",
    "DB_TYPE_LONG_RAW": "long raw",
}


class OracleSession(SqlSession):
    """A session with Oracle; see `Session`."""

    dialect: ClassVar[Dialect] = DIALECT

    def open_link(self, *, writing: bool) -> Link:
        """Connects."""
        return OracleLink(self._parameters, self._options, writing=writing)

    def make_catalog(self, link: Link) -> Catalog:
        """Reads the data dictionary."""
        return OracleCatalog(link)

    def version(self) -> str:
        """Asks for the server's banner."""
        [(banner,)] = self._link.fetch("SELECT MIN(banner) FROM v$version")
        return str(banner)

    def read_column(self, column: ColumnInfo) -> ReadColumn:
        """See `types.read_column`."""
        return read_column(column)

    def measured(self, source: str, columns: list[ReadColumn]) -> list[ReadColumn]:
        """Finds out how many digits numbers without a declared precision have."""
        sql = measure_sql(columns)
        if not sql:
            return columns
        [measures] = self._link.fetch(self.dialect.select(sql, source), seconds=self._options.read_timeout)
        return with_measures(columns, measures)

    def describe(self, subquery: str) -> list[ReadColumn]:
        """Has the server parse the query."""
        described = cast("OracleLink", self._link).describe(f'SELECT * FROM {subquery} "query"')
        return [read_column(_info(column), measure=False) for column in described]

    def sample(self, relation: Relation, share: float, seed: int) -> str | None:
        """Has the server draw rows; it does so from tables only."""
        if not relation.is_table:
            return None
        return f"{self.source(relation)} SAMPLE ({max(share * 100, 0.000001):.6f}) SEED ({seed})"

    def writer(self, link: Link) -> TableWriter:
        """Array inserts; see `OracleWriter`."""
        return OracleWriter(link, self.dialect, self.make_catalog(link))


def _info(column: Any) -> ColumnInfo:
    code: oracledb.DbType = column.type_code
    type = _NAMES.get(code.name) or code.name.removeprefix("DB_TYPE_").lower()
    # The driver says 0 digits where none are declared.
    return ColumnInfo(
        name=column.name,
        type=type,
        original=type,
        precision=column.precision or None,
        scale=column.scale,
        length=column.display_size,
    )
