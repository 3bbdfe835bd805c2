"""Reads SQL Server's catalog views: schemas, tables, columns, keys."""

from simulacra.domain import ForeignKeySchema
from simulacra_connector.drivers.sql import Catalog, ColumnInfo, Link, Relation, gathered_foreign_keys

__all__ = ["MssqlCatalog", "literal"]

_SCHEMAS = (
    "SELECT name FROM sys.schemas WHERE name NOT IN ('sys', 'INFORMATION_SCHEMA', 'guest') "
    "AND name NOT LIKE 'db[_]%' ORDER BY name"
)
_RELATIONS = (
    "SELECT o.name, o.type FROM sys.objects o JOIN sys.schemas s ON s.schema_id = o.schema_id "
    "WHERE o.type IN ('U', 'V') AND s.name = {schema} AND o.is_ms_shipped = 0"
)
_ROWS = (
    "SELECT SUM(p.rows) FROM sys.partitions p WHERE p.index_id IN (0, 1) AND p.object_id = OBJECT_ID({table})"
)
# The type that an alias type stands for; types of the CLR stand for themselves.
_COLUMNS = (
    "SELECT c.name, COALESCE(b.name, t.name), t.name, c.is_nullable, c.precision, c.scale, c.max_length "
    "FROM sys.columns c JOIN sys.types t ON t.user_type_id = c.user_type_id "
    "LEFT JOIN sys.types b ON b.user_type_id = c.system_type_id "
    "WHERE c.object_id = OBJECT_ID({table}) ORDER BY c.column_id"
)
_PRIMARY_KEY = (
    "SELECT c.name FROM sys.indexes i "
    "JOIN sys.index_columns k ON k.object_id = i.object_id AND k.index_id = i.index_id "
    "JOIN sys.columns c ON c.object_id = k.object_id AND c.column_id = k.column_id "
    "WHERE i.is_primary_key = 1 AND i.object_id = OBJECT_ID({table}) ORDER BY k.key_ordinal"
)
_FOREIGN_KEYS = (
    "SELECT f.name, c.name, s.name, o.name, r.name FROM sys.foreign_keys f "
    "JOIN sys.foreign_key_columns k ON k.constraint_object_id = f.object_id "
    "JOIN sys.columns c ON c.object_id = k.parent_object_id AND c.column_id = k.parent_column_id "
    "JOIN sys.columns r ON r.object_id = k.referenced_object_id AND r.column_id = k.referenced_column_id "
    "JOIN sys.objects o ON o.object_id = f.referenced_object_id "
    "JOIN sys.schemas s ON s.schema_id = o.schema_id "
    "WHERE f.parent_object_id = OBJECT_ID({table}) ORDER BY f.name, k.constraint_column_id"
)


def literal(text: str) -> str:
    """Returns a text as a literal, in which a quote is doubled and nothing else is special."""
    return "N'" + text.replace("'", "''") + "'"


def _bracketed(*names: str) -> str:
    return ".".join(f"[{name.replace(']', ']]')}]" for name in names)


class MssqlCatalog(Catalog):
    """The catalog of the database that a connection is in."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def schemas(self) -> list[str]:
        """Lists the schemas but those of the system and of fixed roles."""
        return [str(name) for (name,) in self._link.fetch(_SCHEMAS)]

    def tables(self, schema: str) -> list[str]:
        """Lists tables and views."""
        rows = self._link.fetch(_RELATIONS.format(schema=literal(schema)) + " ORDER BY o.name")
        return [str(name) for name, _ in rows]

    def relation(self, schema: str, table: str) -> Relation | None:
        """Finds a table or view; a table's rows are known to its partitions."""
        rows = self._link.fetch(_RELATIONS.format(schema=literal(schema)) + f" AND o.name = {literal(table)}")
        if not rows:
            return None
        [(name, kind)] = rows
        is_table = str(kind).strip() == "U"
        count = None
        if is_table:
            [(count,)] = self._link.fetch(_ROWS.format(table=literal(_bracketed(schema, name))))
        return Relation(schema, str(name), is_table, None if count is None else int(count))

    def columns(self, relation: Relation) -> list[ColumnInfo]:
        """Lists the columns; the length of a text is in characters, -1 is unbounded."""
        rows = self._link.fetch(_COLUMNS.format(table=_object(relation)))
        return [
            ColumnInfo(
                name=name,
                type=type,
                original=_original(named, precision, scale, length),
                nullable=bool(nullable),
                precision=int(precision),
                scale=int(scale),
                length=int(length) // 2 if type in ("nchar", "nvarchar") and length > 0 else int(length),
            )
            for name, type, named, nullable, precision, scale, length in rows
        ]

    def keys(self, relation: Relation) -> tuple[list[str], list[ForeignKeySchema]]:
        """Reads keys of any number of columns."""
        table = _object(relation)
        primary = [str(name) for (name,) in self._link.fetch(_PRIMARY_KEY.format(table=table))]
        foreign = self._link.fetch(_FOREIGN_KEYS.format(table=table))
        return primary, gathered_foreign_keys((a, b, c, d, e) for a, b, c, d, e in foreign)


def _object(relation: Relation) -> str:
    return literal(_bracketed(relation.schema, relation.table))


def _original(name: str, precision: int, scale: int, length: int) -> str:
    match name:
        case "decimal" | "numeric":
            return f"{name}({precision},{scale})"
        case "time" | "datetime2" | "datetimeoffset":
            return f"{name}({scale})"
        case "char" | "varchar" | "binary" | "varbinary":
            return f"{name}({'max' if length < 0 else length})"
        case "nchar" | "nvarchar":
            return f"{name}({'max' if length < 0 else length // 2})"
    return name
