"""Databricks: results arrive as Arrow; rows are written as Parquet files through a volume."""

from simulacra_connector.drivers.databricks.session import DatabricksSession

__all__ = ["DatabricksSession"]
