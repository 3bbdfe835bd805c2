"""Reads a catalog's information schema; keys are declared there, not enforced."""

from simulacra.domain import ForeignKeySchema
from simulacra_connector.drivers.sql import (
    Catalog,
    ColumnInfo,
    Dialect,
    Link,
    Relation,
    gathered_foreign_keys,
)

__all__ = ["DatabricksCatalog", "column_info"]

_SCHEMAS = (
    "SELECT schema_name FROM {i}.schemata WHERE catalog_name = ? "
    "AND schema_name <> 'information_schema' ORDER BY schema_name"
)
_TABLES = (
    "SELECT table_name, table_type FROM {i}.tables WHERE table_catalog = ? AND table_schema = ? {more} "
    "ORDER BY table_name"
)
_COLUMNS = (
    "SELECT column_name, full_data_type, is_nullable FROM {i}.columns "
    "WHERE table_catalog = ? AND table_schema = ? AND table_name = ? ORDER BY ordinal_position"
)
_PRIMARY_KEY = (
    "SELECT k.column_name FROM {i}.table_constraints c JOIN {i}.key_column_usage k "
    "ON k.constraint_schema = c.constraint_schema AND k.constraint_name = c.constraint_name "
    "AND k.table_name = c.table_name "
    "WHERE c.constraint_type = 'PRIMARY KEY' AND c.table_catalog = ? AND c.table_schema = ? "
    "AND c.table_name = ? ORDER BY k.ordinal_position"
)
_FOREIGN_KEYS = (
    "SELECT r.constraint_name, k.column_name, p.table_schema, p.table_name, p.column_name "
    "FROM {i}.referential_constraints r "
    "JOIN {i}.key_column_usage k ON k.constraint_schema = r.constraint_schema "
    "AND k.constraint_name = r.constraint_name "
    "JOIN {i}.key_column_usage p ON p.constraint_schema = r.unique_constraint_schema "
    "AND p.constraint_name = r.unique_constraint_name "
    "AND p.ordinal_position = k.position_in_unique_constraint "
    "WHERE k.table_catalog = ? AND k.table_schema = ? AND k.table_name = ? "
    "ORDER BY r.constraint_name, k.ordinal_position"
)
_TABLE_TYPES = ("BASE TABLE", "MANAGED", "EXTERNAL")


def column_info(name: str, original: str, *, nullable: bool = True) -> ColumnInfo:
    """Describes a column by the full name of its type, such as `decimal(10,2)` or `array<int>`."""
    type = original.lower()
    bare = type.partition("(")[0].partition("<")[0].strip()
    digits = type.partition("(")[2].partition(")")[0].split(",") if bare == "decimal" else []
    return ColumnInfo(
        name=name,
        type=bare,
        original=original,
        nullable=nullable,
        precision=int(digits[0]) if digits and digits[0] else None,
        scale=int(digits[1]) if len(digits) > 1 else None,
    )


class DatabricksCatalog(Catalog):
    """The information schema of the connector's catalog."""

    def __init__(self, link: Link, dialect: Dialect) -> None:
        self._link = link
        self._catalog = str(link.parameters.config["catalog"])
        self._information = dialect.quote(self._catalog, "information_schema")

    def schemas(self) -> list[str]:
        """Lists the catalog's schemas."""
        rows = self._link.fetch(_SCHEMAS.format(i=self._information), self._catalog)
        return [str(name) for (name,) in rows]

    def tables(self, schema: str) -> list[str]:
        """Lists tables and views."""
        sql = _TABLES.format(i=self._information, more="")
        return [str(name) for name, _ in self._link.fetch(sql, self._catalog, schema)]

    def relation(self, schema: str, table: str) -> Relation | None:
        """Finds a table or view."""
        sql = _TABLES.format(i=self._information, more="AND table_name = ?")
        rows = self._link.fetch(sql, self._catalog, schema, table)
        return Relation(schema, table, rows[0][1] in _TABLE_TYPES) if rows else None

    def columns(self, relation: Relation) -> list[ColumnInfo]:
        """Lists the columns."""
        sql = _COLUMNS.format(i=self._information)
        rows = self._link.fetch(sql, self._catalog, relation.schema, relation.table)
        return [column_info(name, type, nullable=nullable == "YES") for name, type, nullable in rows]

    def keys(self, relation: Relation) -> tuple[list[str], list[ForeignKeySchema]]:
        """Returns the declared keys, of any number of columns."""
        place = (self._catalog, relation.schema, relation.table)
        primary = self._link.fetch(_PRIMARY_KEY.format(i=self._information), *place)
        foreign = self._link.fetch(_FOREIGN_KEYS.format(i=self._information), *place)
        return (
            [str(name) for (name,) in primary],
            gathered_foreign_keys((a, b, c, d, e) for a, b, c, d, e in foreign),
        )
