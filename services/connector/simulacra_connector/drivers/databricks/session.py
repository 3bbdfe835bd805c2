"""A session with a Databricks SQL warehouse."""

import tempfile
from types import TracebackType
from typing import Any, ClassVar, cast

import pyarrow as pa

from simulacra.errors import UnsupportedData
from simulacra_connector.drivers.databricks.catalog import DatabricksCatalog, column_info
from simulacra_connector.drivers.databricks.link import DatabricksLink
from simulacra_connector.drivers.databricks.writing import DIALECT, DatabricksWriter
from simulacra_connector.drivers.sql import (
    Catalog,
    ColumnInfo,
    Dialect,
    Link,
    ReadColumn,
    Relation,
    SqlSession,
    TableWriter,
    as_subquery,
    decimal_type,
)

__all__ = ["DatabricksSession"]

_SIMPLE = {
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "varchar": pa.string(),
    "char": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}
_PRINTED = {
    **dict.fromkeys(("array", "map", "struct", "variant"), "TO_JSON({})"),
    **dict.fromkeys(("interval", "interval year", "interval day", "void"), "CAST({} AS STRING)"),
}


class DatabricksSession(SqlSession):
    """A session with Databricks; see `Session`. Each statement is a snapshot of its own."""

    dialect: ClassVar[Dialect] = DIALECT

    def open_link(self, *, writing: bool) -> Link:
        """Connects; a writer may upload files of one folder, and a reader none."""
        self._folder = tempfile.TemporaryDirectory(prefix="simulacra-databricks-") if writing else None
        return DatabricksLink(
            self._parameters, self._options, files=self._folder.name if self._folder else None
        )

    _folder: "tempfile.TemporaryDirectory[str] | None" = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._folder is not None:
            self._folder.cleanup()

    def make_catalog(self, link: Link) -> Catalog:
        """Reads the information schema."""
        return DatabricksCatalog(link, self.dialect)

    def version(self) -> str:
        """Asks for the version of the warehouse."""
        [(version,)] = self._link.fetch("SELECT VERSION()")
        return f"Databricks {version}"

    def source(self, relation: Relation) -> str:
        """Names the catalog too."""
        return self.dialect.quote(str(self._parameters.config["catalog"]), relation.schema, relation.table)

    def read_column(self, column: ColumnInfo) -> ReadColumn:
        """Plans a column: nested values as JSON."""
        quoted = self.dialect.quote(column.name)
        if column.type in _SIMPLE:
            return ReadColumn(column.name, quoted, _SIMPLE[column.type])
        if column.type == "decimal":
            return ReadColumn(column.name, quoted, decimal_type(column.precision or 10, column.scale or 0))
        if column.type in _PRINTED:
            return ReadColumn(column.name, _PRINTED[column.type].format(quoted), pa.string())
        raise UnsupportedData(
            f'column "{column.name}" has type {column.original}, which has no lossless form; leave it out, '
            "or read a view that casts it",
            column=column.name,
        )

    def subquery(self, statement: str) -> str:
        """No session of Databricks only reads: a query must be a derived table, and the only statement."""
        return as_subquery(statement, quotes="'\"`", backslashes=True)

    def describe(self, subquery: str) -> list[ReadColumn]:
        """Has the warehouse run the query for none of its rows."""
        link = cast("DatabricksLink", self._link)
        return [
            self.read_column(_info(column))
            for column in link.describe(f"SELECT * FROM {subquery} `query` LIMIT 0")
        ]

    def sample(self, relation: Relation, share: float, seed: int) -> str | None:
        """Has the warehouse draw rows."""
        if not relation.is_table:
            return None
        return f"{self.source(relation)} TABLESAMPLE ({share * 100:.6f} PERCENT) REPEATABLE ({seed})"

    def writer(self, link: Link) -> TableWriter:
        """Parquet files through a volume; see `DatabricksWriter`."""
        assert self._folder is not None
        return DatabricksWriter(link, self.dialect, self.make_catalog(link), folder=self._folder.name)


def _info(column: Any) -> ColumnInfo:
    name, type, _, _, precision, scale, *_ = column
    digits = f"({precision},{scale})" if precision else ""
    return column_info(name, f"{type}{digits}")
