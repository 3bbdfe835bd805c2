"""Reads Snowflake's information schema; keys are declared there, not enforced."""

from simulacra.domain import ForeignKeySchema
from simulacra_connector.drivers.sql import (
    Catalog,
    ColumnInfo,
    Dialect,
    Link,
    Relation,
    gathered_foreign_keys,
)

__all__ = ["SnowflakeCatalog"]

_SCHEMAS = (
    "SELECT schema_name FROM {information}.schemata WHERE schema_name <> 'INFORMATION_SCHEMA' ORDER BY 1"
)
_TABLES = (
    "SELECT table_name, table_type, row_count FROM {information}.tables "
    "WHERE table_schema = ? {more} ORDER BY 1"
)
_COLUMNS = (
    "SELECT column_name, data_type, numeric_precision, numeric_scale, is_nullable "
    "FROM {information}.columns WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position"
)


class SnowflakeCatalog(Catalog):
    """The information schema of one database."""

    def __init__(self, link: Link, dialect: Dialect) -> None:
        self._link = link
        self._dialect = dialect
        self._database = str(link.parameters.config["database"])
        self._information = f"{dialect.quote(self._database)}.INFORMATION_SCHEMA"

    def schemas(self) -> list[str]:
        """Lists the database's schemas."""
        return [str(name) for (name,) in self._link.fetch(_SCHEMAS.format(information=self._information))]

    def tables(self, schema: str) -> list[str]:
        """Lists tables and views."""
        sql = _TABLES.format(information=self._information, more="")
        return [str(name) for name, *_ in self._link.fetch(sql, schema)]

    def relation(self, schema: str, table: str) -> Relation | None:
        """Finds a table or view; Snowflake counts a table's rows as they come."""
        sql = _TABLES.format(information=self._information, more="AND table_name = ?")
        rows = self._link.fetch(sql, schema, table)
        if not rows:
            return None
        [(_, kind, count)] = rows
        return Relation(schema, table, kind == "BASE TABLE", None if count is None else int(count))

    def columns(self, relation: Relation) -> list[ColumnInfo]:
        """Lists the columns."""
        sql = _COLUMNS.format(information=self._information)
        return [
            ColumnInfo(
                name=name,
                type=str(type).lower(),
                original=f"{type}({precision},{scale})" if type == "NUMBER" else type,
                nullable=nullable == "YES",
                precision=None if precision is None else int(precision),
                scale=None if scale is None else int(scale),
            )
            for name, type, precision, scale, nullable in self._link.fetch(
                sql, relation.schema, relation.table
            )
        ]

    def keys(self, relation: Relation) -> tuple[list[str], list[ForeignKeySchema]]:
        """Shows the declared keys, of any number of columns."""
        table = self._dialect.quote(self._database, relation.schema, relation.table)
        primary = self._link.records(f"SHOW PRIMARY KEYS IN TABLE {table}") if relation.is_table else []
        foreign = self._link.records(f"SHOW IMPORTED KEYS IN TABLE {table}") if relation.is_table else []
        rows = sorted(foreign, key=lambda row: (row["fk_name"], row["key_sequence"]))
        return (
            [str(row["column_name"]) for row in sorted(primary, key=lambda row: int(row["key_sequence"]))],
            gathered_foreign_keys(
                (
                    row["fk_name"],
                    row["fk_column_name"],
                    row["pk_schema_name"],
                    row["pk_table_name"],
                    row["pk_column_name"],
                )
                for row in rows
                if row["pk_table_name"]
            ),
        )
