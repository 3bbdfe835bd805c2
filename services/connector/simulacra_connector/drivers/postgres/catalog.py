"""Reads PostgreSQL's catalog: schemas, tables, columns, keys."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulacra.domain import ColumnSchema, ForeignKeySchema, ModelEncodingType
from simulacra_connector.drivers.base import location_not_found
from simulacra_connector.drivers.locations import format_location, split_location, table_location

__all__ = ["Catalog", "Relation", "quote"]

Fetch = Callable[..., list[tuple[Any, ...]]]

_SCHEMAS = """
SELECT nspname::text FROM pg_catalog.pg_namespace
WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND nspname !~ '^pg_(toast_)?temp_'
  AND pg_catalog.has_schema_privilege(oid, 'USAGE')
ORDER BY nspname
"""
# Tables, partitioned and foreign tables, views; a partition is part of its table.
_TABLES = """
SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT, INSERT')
ORDER BY c.relname
"""
_RELATION = """
SELECT c.oid::int8, c.relkind::text, c.reltuples::int8
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_COLUMNS = """
SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
       b.typcategory::text, b.typname::text
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
WHERE a.attrelid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_PRIMARY_KEY = """
SELECT a.attname::text
FROM pg_catalog.pg_constraint k, unnest(k.conkey) WITH ORDINALITY AS u(attnum, position)
JOIN pg_catalog.pg_attribute a ON a.attnum = u.attnum
WHERE k.conrelid = $1::int8::oid AND a.attrelid = k.conrelid AND k.contype = 'p'
ORDER BY u.position
"""
_FOREIGN_KEYS = """
SELECT k.conname::text, a.attname::text, rn.nspname::text, r.relname::text, ra.attname::text
FROM pg_catalog.pg_constraint k
CROSS JOIN unnest(k.conkey, k.confkey) WITH ORDINALITY AS u(attnum, refnum, position)
JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum
JOIN pg_catalog.pg_class r ON r.oid = k.confrelid
JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
JOIN pg_catalog.pg_attribute ra ON ra.attrelid = r.oid AND ra.attnum = u.refnum
WHERE k.contype = 'f' AND k.conrelid = $1::int8::oid AND NOT EXISTS (
  -- Of a key to a partitioned table, one for each of its partitions.
  SELECT 1 FROM pg_catalog.pg_constraint p WHERE p.oid = k.conparentid AND p.conrelid = k.conrelid)
ORDER BY k.conname, u.position
"""

_REFERENCED_BY = """
SELECT DISTINCT n.nspname::text, c.relname::text
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.confrelid = $1::int8::oid AND k.conrelid <> k.confrelid AND NOT c.relispartition
ORDER BY 1, 2
"""

# Encodings by PostgreSQL's type category, then by type where the category is too coarse.
_ENCODING_BY_CATEGORY = {"N": ModelEncodingType.TABULAR_NUMERIC_AUTO}
_ENCODING_BY_TYPE = {
    "date": ModelEncodingType.TABULAR_DATETIME,
    "timestamp": ModelEncodingType.TABULAR_DATETIME,
    "timestamptz": ModelEncodingType.TABULAR_DATETIME,
    "uuid": ModelEncodingType.TABULAR_CHARACTER,
    "oid": ModelEncodingType.TABULAR_CATEGORICAL,
}


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view; `samples` tells whether TABLESAMPLE works on it."""

    oid: int
    sql: str
    samples: bool
    estimated_rows: int | None


def quote(name: str) -> str:
    """Quotes an identifier."""
    return '"' + name.replace('"', '""') + '"'


class Catalog:
    """The catalog as one connection sees it; `fetch(sql, *parameters)` runs on that connection."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    def locations(self, prefix: str) -> list[str]:
        """Lists schemas that start with the prefix, or the tables of the schema that it names."""
        schemas = [str(row[0]) for row in self._fetch(_SCHEMAS)]
        if not prefix:
            return schemas
        schema, table = split_location(prefix.removesuffix("."))
        if schema not in schemas:
            return [name for name in schemas if table is None and name.startswith(schema)]
        tables = [str(row[0]) for row in self._fetch(_TABLES, schema)]
        return [format_location(schema, name) for name in tables if name.startswith(table or "")]

    def relation(self, location: str) -> Relation:
        """Finds a table or view.

        Raises:
            LocationNotFound: If there is none, or the user may not see it.
        """
        schema, table = table_location(location)
        rows = self._fetch(_RELATION, schema, table)
        if not rows:
            near = self.locations(f"{quote(schema)}.")[:8]
            raise location_not_found(location, f"its schema has {', '.join(near) or 'no tables'}")
        oid, kind, estimate = rows[0]
        samples = kind in "rpm"
        return Relation(
            int(oid),
            f"{quote(schema)}.{quote(table)}",
            samples,
            int(estimate) if samples and estimate >= 0 else None,
        )

    def columns(self, relation: Relation) -> list[ColumnSchema]:
        """Lists the columns in the table's order."""
        return [
            ColumnSchema(
                name=name,
                original_data_type=original_type,
                default_model_encoding_type=_ENCODING_BY_TYPE.get(type_name)
                or _ENCODING_BY_CATEGORY.get(category, ModelEncodingType.TABULAR_CATEGORICAL),
                nullable=nullable,
            )
            for name, original_type, nullable, category, type_name in self._fetch(_COLUMNS, relation.oid)
        ]

    def primary_key(self, relation: Relation) -> list[str]:
        """Returns the primary key's columns, in the key's order."""
        return [str(name) for (name,) in self._fetch(_PRIMARY_KEY, relation.oid)]

    def foreign_keys(self, relation: Relation) -> list[ForeignKeySchema]:
        """Returns the table's foreign keys, each with all its columns."""
        keys: dict[str, ForeignKeySchema] = {}
        for name, column, schema, table, referenced in self._fetch(_FOREIGN_KEYS, relation.oid):
            location = format_location(schema, table)
            known = keys.get(name)
            keys[name] = ForeignKeySchema(
                columns=[*(known.columns if known else []), column],
                referenced_location=location,
                referenced_columns=[*(known.referenced_columns if known else []), referenced],
            )
        return list(keys.values())

    def referenced_by(self, relation: Relation) -> list[str]:
        """Returns the locations of the other tables whose foreign keys point at this one."""
        found = self._fetch(_REFERENCED_BY, relation.oid)
        return [format_location(schema, table) for schema, table in found]
