"""A session with BigQuery: its tables are read as they were when it began."""

from typing import ClassVar, cast

import pyarrow as pa

from simulacra.errors import UnsupportedData
from simulacra_connector.drivers.bigquery.catalog import BigQueryCatalog, column_info
from simulacra_connector.drivers.bigquery.link import BigQueryLink
from simulacra_connector.drivers.bigquery.writing import DIALECT, BigQueryWriter
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

__all__ = ["BigQuerySession"]

_SIMPLE = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "bytes": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "datetime": pa.timestamp("us"),
    "timestamp": pa.timestamp("us", "UTC"),
    "numeric": pa.decimal128(38, 9),
    "bignumeric": pa.decimal256(76, 38),
}
_PRINTED = {
    "json": "TO_JSON_STRING({})",
    "struct": "TO_JSON_STRING({})",
    "array": "TO_JSON_STRING({})",
    "geography": "ST_ASTEXT({})",
    "interval": "CAST({} AS STRING)",
}
_SHARES = 10**9


class BigQuerySession(SqlSession):
    """A session with BigQuery; see `Session`."""

    dialect: ClassVar[Dialect] = DIALECT

    def open_link(self, *, writing: bool) -> Link:
        """Makes a client."""
        del writing
        return BigQueryLink(self._parameters, self._options)

    def make_catalog(self, link: Link) -> Catalog:
        """Asks the API."""
        return BigQueryCatalog(cast("BigQueryLink", link))

    def version(self) -> str:
        """Runs a query; BigQuery has no versions."""
        self._link.fetch("SELECT 1")
        return "Google BigQuery"

    def source(self, relation: Relation) -> str:
        """Asks for the table as it was when the session began."""
        table = super().source(relation)
        if not relation.is_table:
            return table
        moment = cast("BigQueryLink", self._link).moment.isoformat(sep=" ", timespec="microseconds")
        return f"{table} FOR SYSTEM_TIME AS OF TIMESTAMP '{moment}'"

    def read_column(self, column: ColumnInfo) -> ReadColumn:
        """Plans a column: nested values as JSON, places as well-known text."""
        quoted = self.dialect.quote(column.name)
        if column.type in _SIMPLE:
            return ReadColumn(column.name, quoted, _SIMPLE[column.type])
        if column.type in _PRINTED:
            return ReadColumn(column.name, _PRINTED[column.type].format(quoted), pa.string())
        raise UnsupportedData(
            f'column "{column.name}" has type {column.original}, which has no lossless form; leave it out, '
            "or read a view that casts it",
            column=column.name,
        )

    def describe(self, subquery: str) -> list[ReadColumn]:
        """Has BigQuery plan the query: it tells the columns, and that it is a SELECT and nothing else."""
        described = cast("BigQueryLink", self._link).describe(f"SELECT * FROM {subquery} `query`")
        return [self.read_column(column_info(field)) for field in described]

    def sample(self, relation: Relation, share: float, seed: int) -> str | None:
        """Draws rows by a hash of seed and primary key; BigQuery itself samples only blocks."""
        primary_key, _ = self._catalog.keys(relation)
        if not primary_key:
            return None
        parts = ", '|', ".join(f"CAST({self.dialect.quote(name)} AS STRING)" for name in primary_key)
        digest = f"FARM_FINGERPRINT(CONCAT('{seed}', '|', {parts})) & 0x7FFFFFFFFFFFFFFF"
        return (
            f"(SELECT * FROM {self.source(relation)} WHERE MOD({digest}, {_SHARES}) < {int(share * _SHARES)})"
        )

    def writer(self, link: Link) -> TableWriter:
        """One load job each; see `BigQueryWriter`."""
        return BigQueryWriter(link, self.dialect, self.make_catalog(link))
