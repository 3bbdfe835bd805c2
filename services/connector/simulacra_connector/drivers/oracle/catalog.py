"""Reads Oracle's data dictionary: schemas, tables, columns, keys, as far as the user may see them."""

import re

from simulacra.domain import ForeignKeySchema
from simulacra_connector.drivers.sql import Catalog, ColumnInfo, Link, Relation, gathered_foreign_keys

__all__ = ["OracleCatalog", "bare_type"]

_SCHEMAS = "SELECT username FROM all_users WHERE oracle_maintained = 'N' ORDER BY username"
_OBJECTS = (
    "SELECT object_name, MIN(object_type), COUNT(*) FROM all_objects WHERE owner = :1 "
    "AND object_type IN ('TABLE', 'VIEW', 'MATERIALIZED VIEW') AND secondary = 'N' "
    "AND object_name NOT LIKE 'BIN$%' {more} GROUP BY object_name ORDER BY object_name"
)
_ROWS = "SELECT num_rows FROM all_tables WHERE owner = :1 AND table_name = :2"
_COLUMNS = (
    "SELECT column_name, data_type, data_precision, data_scale, char_length, data_length, nullable "
    "FROM all_tab_columns WHERE owner = :1 AND table_name = :2 ORDER BY column_id"
)
_PRIMARY_KEY = (
    "SELECT k.column_name FROM all_constraints c JOIN all_cons_columns k "
    "ON k.owner = c.owner AND k.constraint_name = c.constraint_name "
    "WHERE c.constraint_type = 'P' AND c.owner = :1 AND c.table_name = :2 ORDER BY k.position"
)
_FOREIGN_KEYS = (
    "SELECT c.constraint_name, k.column_name, r.owner, r.table_name, r.column_name FROM all_constraints c "
    "JOIN all_cons_columns k ON k.owner = c.owner AND k.constraint_name = c.constraint_name "
    "JOIN all_cons_columns r ON r.owner = c.r_owner AND r.constraint_name = c.r_constraint_name "
    "AND r.position = k.position "
    "WHERE c.constraint_type = 'R' AND c.owner = :1 AND c.table_name = :2 ORDER BY 1, k.position"
)


def bare_type(name: str) -> str:
    """Returns a type's name without the digits in it: `TIMESTAMP(6) WITH TIME ZONE` has some."""
    return re.sub(r"\(\d+\)", "", name).lower()


class OracleCatalog(Catalog):
    """The dictionary's ALL_ views."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def schemas(self) -> list[str]:
        """Lists the users that are not Oracle's own."""
        return [str(name) for (name,) in self._link.fetch(_SCHEMAS)]

    def tables(self, schema: str) -> list[str]:
        """Lists tables, views and materialized views."""
        return [str(row[0]) for row in self._link.fetch(_OBJECTS.format(more=""), schema)]

    def relation(self, schema: str, table: str) -> Relation | None:
        """Finds a table or view; a materialized view is both."""
        rows = self._link.fetch(_OBJECTS.format(more="AND object_name = :2"), schema, table)
        if not rows:
            return None
        [(_, kind, kinds)] = rows
        is_table = kind == "TABLE" and int(kinds) == 1
        estimates = self._link.fetch(_ROWS, schema, table) if is_table else []
        known = [int(count) for (count,) in estimates if count is not None]
        return Relation(schema, table, is_table, known[0] if known else None)

    def columns(self, relation: Relation) -> list[ColumnInfo]:
        """Lists the columns."""
        return [
            ColumnInfo(
                name=name,
                type=bare_type(type),
                original=_original(type, precision, scale, characters, length),
                nullable=nullable == "Y",
                precision=None if precision is None else int(precision),
                scale=None if scale is None else int(scale),
                length=int(characters or length),
            )
            for name, type, precision, scale, characters, length, nullable in self._link.fetch(
                _COLUMNS, relation.schema, relation.table
            )
        ]

    def keys(self, relation: Relation) -> tuple[list[str], list[ForeignKeySchema]]:
        """Reads keys of any number of columns."""
        primary = self._link.fetch(_PRIMARY_KEY, relation.schema, relation.table)
        foreign = self._link.fetch(_FOREIGN_KEYS, relation.schema, relation.table)
        return (
            [str(name) for (name,) in primary],
            gathered_foreign_keys((a, b, c, d, e) for a, b, c, d, e in foreign),
        )


def _original(
    type: str, precision: int | None, scale: int | None, characters: int | None, length: int
) -> str:
    if type == "NUMBER" and precision is not None:
        return f"NUMBER({precision},{scale or 0})"
    if characters:
        return f"{type}({characters})"
    return f"{type}({length})" if type == "RAW" else type
