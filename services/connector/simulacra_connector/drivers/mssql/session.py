"""One connection to SQL Server: a snapshot where the database allows it, and never committed."""

import re
from typing import ClassVar

from simulacra_connector.drivers.mssql.catalog import MssqlCatalog, literal
from simulacra_connector.drivers.mssql.link import MssqlLink
from simulacra_connector.drivers.mssql.types import DIALECT, FRACTION, read_column
from simulacra_connector.drivers.mssql.writing import MssqlWriter
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
    measure_sql,
    with_measures,
)

__all__ = ["MssqlSession"]

_SNAPSHOT = "SELECT snapshot_isolation_state FROM sys.databases WHERE database_id = DB_ID()"
_DESCRIBE = (
    "SELECT name, system_type_name, is_nullable, precision, scale, max_length "
    "FROM sys.dm_exec_describe_first_result_set({statement}, NULL, 0) ORDER BY column_ordinal"
)
_SHARES = 10**9


class MssqlSession(SqlSession):
    """A session with SQL Server; see `Session`."""

    dialect: ClassVar[Dialect] = DIALECT

    def open_link(self, *, writing: bool) -> Link:
        """Connects. A reading session's transaction is left open, so that hanging up rolls it back."""
        link = MssqlLink(self._parameters, self._options)
        link.execute(f"SET LOCK_TIMEOUT {self._options.lock_timeout * 1000}")
        if not writing:
            [(allowed,)] = link.fetch(_SNAPSHOT)
            level = "SNAPSHOT" if allowed == 1 else "READ COMMITTED"
            link.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
            link.execute("BEGIN TRANSACTION")
        return link

    def make_catalog(self, link: Link) -> Catalog:
        """Reads the views of schema sys."""
        return MssqlCatalog(link)

    def version(self) -> str:
        """Asks for product version and edition."""
        [(version, edition)] = self._link.fetch(
            "SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)), "
            "CAST(SERVERPROPERTY('Edition') AS nvarchar(128))"
        )
        return f"Microsoft SQL Server {version} ({edition})"

    def read_column(self, column: ColumnInfo) -> ReadColumn:
        """See `types.read_column`."""
        return read_column(column)

    def measured(self, source: str, columns: list[ReadColumn]) -> list[ReadColumn]:
        """Finds out which times need more than microseconds: Arrow's nanoseconds end in the year 2262."""
        sql = measure_sql(columns, fraction=FRACTION)
        if not sql:
            return columns
        [measures] = self._link.fetch(self.dialect.select(sql, source), seconds=self._options.read_timeout)
        return with_measures(columns, measures)

    def subquery(self, statement: str) -> str:
        """SQL Server takes several statements at once: a query must not end before its parentheses do."""
        return as_subquery(statement, quotes="'\"[")

    def describe(self, subquery: str) -> list[ReadColumn]:
        """Asks the server, which runs nothing for it."""
        statement = f"SELECT * FROM {subquery} [query]"
        rows = self._link.fetch(_DESCRIBE.format(statement=literal(statement)))
        if not rows:
            # The server does not say here what is wrong with the statement; running it does.
            self._link.fetch(f"SELECT TOP (0) * FROM {subquery} [query]")
        return [
            read_column(
                ColumnInfo(
                    name=name or "",
                    type=re.split(r"\W", str(type), maxsplit=1)[0].lower(),
                    original=str(type),
                    nullable=bool(nullable),
                    precision=int(precision),
                    scale=int(scale),
                    length=int(length),
                ),
                measure=False,
            )
            for name, type, nullable, precision, scale, length in rows
        ]

    def sample(self, relation: Relation, share: float, seed: int) -> str | None:
        """Draws rows by a hash of seed and primary key; SQL Server itself samples only whole pages."""
        primary_key, _ = self._catalog.keys(relation)
        if not primary_key:
            return None
        parts = ", N'|', ".join(self.dialect.quote(name) for name in primary_key)
        digest = f"CONVERT(bigint, SUBSTRING(HASHBYTES('MD5', CONCAT({seed}, N'|', {parts})), 1, 7))"
        table = self.source(relation)
        return f"(SELECT * FROM {table} WHERE {digest} % {_SHARES} < {int(share * _SHARES)}) [sample]"

    def writer(self, link: Link) -> TableWriter:
        """Everything is one transaction; see `MssqlWriter`."""
        return MssqlWriter(link, self.dialect, self.make_catalog(link))
