"""Reads the information schema of MySQL and MariaDB: databases, tables, columns, keys."""

from collections.abc import Callable
from typing import Any

from simulacra.domain import ColumnSchema, ForeignKeySchema, ModelEncodingType
from simulacra_connector.drivers.base import location_not_found
from simulacra_connector.drivers.locations import format_location, split_location, table_location
from simulacra_connector.drivers.mysql.columns import quote

__all__ = ["Catalog"]

Fetch = Callable[..., list[tuple[Any, ...]]]

_SYSTEM = "('information_schema', 'mysql', 'performance_schema', 'sys')"
_DATABASES = (
    f"SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN {_SYSTEM} ORDER BY 1"
)
_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s ORDER BY 1"
_TABLE = "SELECT table_rows FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
_COLUMNS = (
    "SELECT column_name, column_type, data_type, is_nullable FROM information_schema.columns "
    "WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position"
)
_KEYS = (
    "SELECT constraint_name, column_name, referenced_table_schema, referenced_table_name, "
    "referenced_column_name FROM information_schema.key_column_usage "
    "WHERE table_schema = %s AND table_name = %s "
    "AND (constraint_name = 'PRIMARY' OR referenced_table_name IS NOT NULL) "
    "ORDER BY constraint_name, ordinal_position"
)
_REFERENCED_BY = (
    "SELECT DISTINCT table_schema, table_name FROM information_schema.key_column_usage "
    "WHERE referenced_table_schema = %s AND referenced_table_name = %s "
    "AND NOT (table_schema = referenced_table_schema AND table_name = referenced_table_name) ORDER BY 1, 2"
)
_NUMERIC = ["tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "bit", "year"]
_DATETIME = ("date", "datetime", "timestamp")


class Catalog:
    """The catalog as one connection sees it; `fetch(sql, *parameters)` runs on that connection."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    def locations(self, prefix: str) -> list[str]:
        """Lists databases that start with the prefix, or the tables of the database that it names."""
        databases = [str(row[0]) for row in self._fetch(_DATABASES)]
        if not prefix:
            return databases
        database, table = split_location(prefix.removesuffix("."))
        if database not in databases:
            return [name for name in databases if table is None and name.startswith(database)]
        tables = [str(row[0]) for row in self._fetch(_TABLES, database)]
        return [format_location(database, name) for name in tables if name.startswith(table or "")]

    def table(self, location: str) -> tuple[str, int | None]:
        """Returns a table's SQL name and its estimated rows.

        Raises:
            LocationNotFound: If there is none.
        """
        database, table = table_location(location)
        rows = self._fetch(_TABLE, database, table)
        if not rows:
            near = [str(row[0]) for row in self._fetch(_TABLES, database)][:8]
            raise location_not_found(location, f"its database has {', '.join(near) or 'no tables'}")
        estimate = rows[0][0]
        return f"{quote(database)}.{quote(table)}", None if estimate is None else int(estimate)

    def columns(self, location: str) -> list[ColumnSchema]:
        """Lists the columns in the table's order."""
        return [
            ColumnSchema(
                name=name,
                original_data_type=column_type,
                default_model_encoding_type=_encoding(data_type),
                nullable=nullable == "YES",
            )
            for name, column_type, data_type, nullable in self._fetch(_COLUMNS, *table_location(location))
        ]

    def keys(self, location: str) -> tuple[list[str], list[ForeignKeySchema]]:
        """Returns the primary key's columns, and the foreign keys."""
        primary: list[str] = []
        foreign: dict[str, ForeignKeySchema] = {}
        for name, column, database, table, referenced in self._fetch(_KEYS, *table_location(location)):
            if name == "PRIMARY":
                primary.append(column)
                continue
            known = foreign.get(name)
            foreign[name] = ForeignKeySchema(
                columns=[*(known.columns if known else []), column],
                referenced_location=format_location(database, table),
                referenced_columns=[*(known.referenced_columns if known else []), referenced],
            )
        return primary, list(foreign.values())

    def referenced_by(self, location: str) -> list[str]:
        """Returns the locations of the other tables whose foreign keys point at this one."""
        found = self._fetch(_REFERENCED_BY, *table_location(location))
        return [format_location(database, table) for database, table in found]


def _encoding(data_type: str) -> ModelEncodingType:
    if data_type in _NUMERIC:
        return ModelEncodingType.TABULAR_NUMERIC_AUTO
    if data_type in _DATETIME:
        return ModelEncodingType.TABULAR_DATETIME
    return ModelEncodingType.TABULAR_CATEGORICAL
