"""Asks Hive for its databases and tables in words that all its versions, and Spark's server, understand."""

from simulacra_connector.drivers.sql import Catalog, ColumnInfo, Dialect, Link, Relation

__all__ = ["HiveCatalog", "column_info"]


def column_info(name: str, original: str) -> ColumnInfo:
    """Describes a column by the name of its type, such as `decimal(10,2)` or `array<int>`."""
    type = original.lower()
    bare = type.partition("(")[0].partition("<")[0].strip()
    digits = type.partition("(")[2].partition(")")[0].split(",") if bare == "decimal" else []
    return ColumnInfo(
        name=name,
        type=bare,
        original=original,
        precision=int(digits[0]) if digits and digits[0] else None,
        scale=int(digits[1]) if len(digits) > 1 else None,
    )


class HiveCatalog(Catalog):
    """What SHOW and DESCRIBE tell; they know of no keys."""

    def __init__(self, link: Link, dialect: Dialect) -> None:
        self._link = link
        self._dialect = dialect

    def schemas(self) -> list[str]:
        """Lists databases."""
        return sorted(str(row[0]) for row in self._link.fetch("SHOW DATABASES"))

    def tables(self, schema: str) -> list[str]:
        """Lists tables and views."""
        if schema not in self.schemas():
            return []
        found = self._link.records(f"SHOW TABLES IN {self._dialect.quote(schema)}")
        # Hive has one column, Spark three.
        return sorted(str(row.get("tablename") or next(iter(row.values()))) for row in found)

    def relation(self, schema: str, table: str) -> Relation | None:
        """Finds a table or view."""
        if table not in self.tables(schema):
            return None
        views = self._link.records(f"SHOW VIEWS IN {self._dialect.quote(schema)}")
        names = {str(row.get("viewname") or next(iter(row.values()))) for row in views}
        return Relation(schema, table, table not in names)

    def columns(self, relation: Relation) -> list[ColumnInfo]:
        """Lists the columns; what follows an empty name is about partitions."""
        place = self._dialect.quote(relation.schema, relation.table)
        columns: list[ColumnInfo] = []
        for name, type, *_ in self._link.fetch(f"DESCRIBE {place}"):
            if not name or str(name).startswith("#"):
                break
            columns.append(column_info(str(name).strip(), str(type).strip()))
        return columns
