"""What a driver tells about its database: schemas, tables, columns, keys."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from simulacra.domain import ForeignKeySchema
from simulacra_connector.drivers.locations import format_location

__all__ = ["Catalog", "ColumnInfo", "Relation", "gathered_foreign_keys"]


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """A column as the catalog describes it; `type` is the bare name of its type, in lower case."""

    name: str
    type: str
    original: str
    nullable: bool = True
    precision: int | None = None
    scale: int | None = None
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or a view; its rows may be known without counting."""

    schema: str
    table: str
    is_table: bool = True
    estimated_rows: int | None = None

    @property
    def location(self) -> str:
        """The location: `schema.table`."""
        return format_location(self.schema, self.table)


class Catalog(ABC):
    """The catalog as one connection sees it."""

    @abstractmethod
    def schemas(self) -> list[str]:
        """Lists the schemas (databases, datasets) without those of the system."""

    @abstractmethod
    def tables(self, schema: str) -> list[str]:
        """Lists the tables and views of a schema; empty if it is not there."""

    @abstractmethod
    def relation(self, schema: str, table: str) -> Relation | None:
        """Finds a table or view."""

    @abstractmethod
    def columns(self, relation: Relation) -> list[ColumnInfo]:
        """Lists the columns in the table's order."""

    def keys(self, relation: Relation) -> tuple[list[str], list[ForeignKeySchema]]:
        """Returns the columns of the primary key, and the foreign keys."""
        del relation
        return [], []


def gathered_foreign_keys(rows: Iterable[tuple[str, str, str, str, str]]) -> list[ForeignKeySchema]:
    """Makes foreign keys of rows, one for each of a key's columns: name, column, schema, table, column."""
    keys: dict[str, ForeignKeySchema] = {}
    for name, column, schema, table, referenced in rows:
        known = keys.get(name)
        keys[name] = ForeignKeySchema(
            columns=[*(known.columns if known else []), column],
            referenced_location=format_location(schema, table),
            referenced_columns=[*(known.referenced_columns if known else []), referenced],
        )
    return list(keys.values())
