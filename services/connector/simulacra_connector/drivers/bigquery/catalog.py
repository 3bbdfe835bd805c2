"""Describes datasets and tables by BigQuery's API; keys are declared there, not enforced."""

from typing import Any

from google.cloud import bigquery

from simulacra.domain import ForeignKeySchema
from simulacra_connector.drivers.bigquery.link import BigQueryLink
from simulacra_connector.drivers.locations import format_location
from simulacra_connector.drivers.sql import Catalog, ColumnInfo, Relation

__all__ = ["BigQueryCatalog", "column_info"]

# What the API calls by the names of old.
_NAMES = {"integer": "int64", "float": "float64", "boolean": "bool", "record": "struct"}


def column_info(field: Any) -> ColumnInfo:
    """Describes a field of a schema; a repeated one is an array."""
    name = _NAMES.get(field.field_type.lower(), field.field_type.lower())
    digits = f"({field.precision},{field.scale or 0})" if field.precision else ""
    repeated = field.mode == "REPEATED"
    return ColumnInfo(
        name=field.name,
        type="array" if repeated else name,
        original=f"ARRAY<{name.upper()}>" if repeated else f"{name.upper()}{digits}",
        nullable=field.mode != "REQUIRED",
        precision=field.precision,
        scale=field.scale,
    )


class BigQueryCatalog(Catalog):
    """The datasets of the key's project."""

    def __init__(self, link: BigQueryLink) -> None:
        self._link = link

    def schemas(self) -> list[str]:
        """Lists datasets."""
        with self._link.translated():
            return [item.dataset_id for item in self._link.client.list_datasets(retry=self._link.retry)]

    def tables(self, schema: str) -> list[str]:
        """Lists tables and views."""
        if schema not in self.schemas():
            return []
        with self._link.translated(schema):
            return [item.table_id for item in self._link.client.list_tables(schema, retry=self._link.retry)]

    def relation(self, schema: str, table: str) -> Relation | None:
        """Finds a table or view."""
        if table not in self.tables(schema):
            return None
        found = self._table(schema, table)
        is_table = found.table_type == "TABLE"
        return Relation(schema, table, is_table, int(found.num_rows or 0) if is_table else None)

    def columns(self, relation: Relation) -> list[ColumnInfo]:
        """Lists the columns."""
        return [column_info(field) for field in self._table(relation.schema, relation.table).schema]

    def keys(self, relation: Relation) -> tuple[list[str], list[ForeignKeySchema]]:
        """Returns the declared keys."""
        constraints = self._table(relation.schema, relation.table).table_constraints
        if constraints is None:
            return [], []
        primary = constraints.primary_key.columns if constraints.primary_key else []
        return list(primary), [
            ForeignKeySchema(
                columns=[each.referencing_column for each in key.column_references],
                referenced_location=format_location(
                    key.referenced_table.dataset_id, key.referenced_table.table_id
                ),
                referenced_columns=[each.referenced_column for each in key.column_references],
            )
            for key in constraints.foreign_keys or []
        ]

    def _table(self, schema: str, table: str) -> bigquery.Table:
        with self._link.translated(format_location(schema, table)):
            reference = bigquery.DatasetReference(self._link.project, schema).table(table)
            return self._link.client.get_table(reference, retry=self._link.retry)
