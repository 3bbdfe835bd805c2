"""BigQuery: tables are described by its API, read by query jobs, and written by one load job each."""

from simulacra_connector.drivers.bigquery.session import BigQuerySession

__all__ = ["BigQuerySession"]
