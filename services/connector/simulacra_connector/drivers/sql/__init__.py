"""What the drivers of databases and warehouses have in common, whatever their dialect.

A driver gives a `Link` (one connection: how to run and how to stop a statement), a `Catalog`, a `Dialect` and
the Arrow type of each of its types; `SqlSession` and `TableWriter` make a connector of them.
"""

from simulacra_connector.drivers.sql.catalog import Catalog, ColumnInfo, Relation, gathered_foreign_keys
from simulacra_connector.drivers.sql.columns import ReadColumn, decimal_type
from simulacra_connector.drivers.sql.dialect import Dialect
from simulacra_connector.drivers.sql.faults import Fault
from simulacra_connector.drivers.sql.link import Link
from simulacra_connector.drivers.sql.moments import MeasuredMoment, measure_sql, with_measures
from simulacra_connector.drivers.sql.session import SqlSession
from simulacra_connector.drivers.sql.statements import as_subquery
from simulacra_connector.drivers.sql.values import exact_batch, python_rows
from simulacra_connector.drivers.sql.writing import Staged, TableWriter

__all__ = [
    "Catalog",
    "ColumnInfo",
    "Dialect",
    "Fault",
    "Link",
    "MeasuredMoment",
    "ReadColumn",
    "Relation",
    "SqlSession",
    "Staged",
    "TableWriter",
    "as_subquery",
    "decimal_type",
    "exact_batch",
    "gathered_foreign_keys",
    "measure_sql",
    "python_rows",
    "with_measures",
]
